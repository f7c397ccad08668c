"""MLflow's own scoring server, asked in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

Reply = tuple[int, str, bytes]


async def ask(app: Any, bodies: Sequence[bytes], content_type: str = "application/json") -> list[Reply]:
    """Status, media type and body of each answer of `mlflow.pyfunc.scoring_server.init(model)`."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://mlflow") as client:
        headers = {"Content-Type": content_type}
        replies = [await client.post("/invocations", content=body, headers=headers) for body in bodies]
    return [(r.status_code, r.headers["content-type"].partition(";")[0], r.content) for r in replies]
