"""Ray Serve's answers to a GET, as plain data."""

from __future__ import annotations

from typing import Any


def app(name: str, status: str = "RUNNING", **fields: Any) -> dict[str, Any]:
    """One declarative app."""
    return {"name": name, "status": status, "deployed_app_config": {"name": name, "args": {}}, **fields}


def instance(*apps: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The whole answer."""
    return {"applications": {a["name"]: a for a in apps}, **settings}
