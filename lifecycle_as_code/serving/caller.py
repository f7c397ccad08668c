"""Who sent a request, as far as limits, guards and usage need to know. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Caller(NamedTuple):
    """The sender of a request whom the access check let in. `name` is the MLflow user's, empty where the
    endpoint checks no access; `groups` are the names of the user's roles."""

    name: str = ""
    groups: frozenset[str] = frozenset()


ANONYMOUS = Caller()
