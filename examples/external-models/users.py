"""A user of MLflow's basic-auth, made by MLflow's own store. Roles and grants are then ours."""

from __future__ import annotations

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

store = SqlAlchemyStore()
store.init_db("sqlite:///basic_auth.db")
if not store.has_user("ana"):
    store.create_user("ana", "a-password-for-ana")
print("users: ana")
