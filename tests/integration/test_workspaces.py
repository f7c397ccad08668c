"""A workspace that MLflow doesn't know is refused before anything is read or written."""

from __future__ import annotations

import pytest
from support.bench import Bench

from lifecycle_as_code.model.diagnostics import LacError


def test_an_unknown_workspace_is_named_with_those_that_exist(bench: Bench) -> None:
    stack = bench.stack()
    stack.settings.workspace = "team-x"  # type: ignore[misc]  # a bench's settings can be set
    with pytest.raises(LacError, match=r"unknown-workspace.*\n.*not among `default`"):
        stack.plan()
