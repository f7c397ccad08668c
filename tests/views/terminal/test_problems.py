"""Diagnostics as text."""

from __future__ import annotations

from dataclasses import replace

from support.view_samples import (
    WARNING,
)

from lifecycle_as_code.model.diagnostics import Source
from lifecycle_as_code.views.terminal.problems import diagnostic, problems


def test_a_problem_reads_as_it_spells_itself() -> None:
    assert diagnostic(WARNING) == str(WARNING)


def test_problems_are_in_file_order_and_told_once() -> None:
    elsewhere = replace(WARNING, at=Source("a.yaml", 1, 1))
    told = problems([WARNING, elsewhere, WARNING])
    assert [line.split(":")[0] for line in told.splitlines()[::3]] == ["a.yaml", "fraud.yaml"]
