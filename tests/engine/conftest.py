"""A cluster on paper, and a stack that has it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.bench import Bench
from support.fake_cluster import Paper, on_paper

from lifecycle_as_code.manifest.settings import Serve


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    return on_paper(monkeypatch)


@pytest.fixture
def served(bench: Bench, paper: Paper) -> Bench:  # noqa: ARG001 - the cluster it is about
    return replace(bench, serve=Serve(local=False, address="http://paper"))
