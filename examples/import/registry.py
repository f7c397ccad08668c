"""A registry that grew by hand: models, versions, an alias, an experiment, a user, a role and its grant."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

client = MlflowClient("sqlite:///mlflow.db", "sqlite:///mlflow.db")
client.create_experiment("fraud-nightly", artifact_location="s3://runs/fraud-nightly", tags={"team": "risk"})
client.create_registered_model("fraud", tags={"team": "risk"}, description="Scores card payments.")
for number in (1, 2):
    client.create_model_version("fraud", f"s3://models/fraud/{number}", tags={"reviewed": "yes"})
client.set_registered_model_alias("fraud", "champion", "2")
client.create_registered_model("basket", description="Suggests what else to buy.")

users = SqlAlchemyStore()
users.init_db("sqlite:///basic_auth.db")
users.create_user("ann", "a-password-for-ann")
role = users.create_role("analysts", workspace="default", description="People who look at models.")
users.add_role_permission(role.id, "registered_model", "fraud", "READ")
users.assign_role_to_user(users.get_user("ann").id, role.id)
print("2 models, 2 versions, 1 alias, 1 experiment, 1 role with a member and a grant")
