"""Two users of MLflow's basic-auth, made by MLflow's own store. Roles and grants are then ours."""

from __future__ import annotations

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

PASSWORDS = {"ana": "a-password-for-ana", "clinic": "a-password-for-clinic"}

store = SqlAlchemyStore()
store.init_db("sqlite:///basic_auth.db")
for user, password in PASSWORDS.items():
    if not store.has_user(user):
        store.create_user(user, password)
print(f"users: {', '.join(PASSWORDS)}")
