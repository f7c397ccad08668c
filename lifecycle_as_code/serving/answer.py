"""What goes back to a client: a status, a media type and bytes."""

from __future__ import annotations

from typing import NamedTuple

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


class Answer(NamedTuple):
    """What goes back to the client. A plain tuple: it crosses from replica to replica with each request."""

    status: int
    media_type: str
    body: bytes


def error(status: int, code: str, message: str) -> Answer:
    """An error in the shape of MLflow's: `{"error_code": …, "message": …}`."""
    import orjson

    return Answer(status, JSON, orjson.dumps({"error_code": code, "message": message}))
