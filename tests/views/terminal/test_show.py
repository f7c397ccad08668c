"""One object from every side, on a terminal."""

from __future__ import annotations

from support.view_samples import (
    CHAMPION,
    Alias,
)

from lifecycle_as_code.model.diagnostics import Source
from lifecycle_as_code.model.snapshot import Observed, Record
from lifecycle_as_code.views.terminal import show as show_view


def test_an_object_shows_where_its_sides_part() -> None:
    declared, live = Alias(name="fraud", version=4), Alias(name="fraud", version=3)
    record = Record(live.address, live.store, live)
    shown = show_view.snapshots(
        live.address, declared, record, Observed(live, {"created": 5}), at=Source("f.yaml", 9, 5)
    )
    assert shown == (
        """\
alias.fraud
  declared  at f.yaml:9:5
  recorded  yes
  live      yes

Fields
  version
    declared  4
    recorded  3
    live      3

Facts
  created  5"""
    )


def test_an_object_that_is_nowhere_says_so_three_times() -> None:
    shown = show_view.snapshots(CHAMPION, None, None, None)
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["declared", "no"],
        ["recorded", "no"],
        ["live", "no"],
    ]
