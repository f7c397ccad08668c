"""What `lac history` prints, for people and for programs, and that nothing printed can repaint a terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.history import CHAMPION, FRAUD, alias, an_apply, line

from lifecycle_as_code.model.history import Actor, Apply, Line
from lifecycle_as_code.views import json as json_view
from lifecycle_as_code.views.terminal import history as view
from lifecycle_as_code.views.text import Paint

ANN = Actor("ann", "laptop", commit="0123456789abcdef", remote="git.example:infra.git", dirty=True)
JOB = Actor("root", "runner-7", ci="octo", run="https://ci.example/7", commit="fedcba9876543210")
AT = 1_795_000_000_000


def applied(number: int, *lines: Line, **said: Any) -> Apply:
    made = an_apply(number, *lines)
    return replace(made, started_ms=AT + number * 1000, **said)


FIRST = applied(1, line("create", None, FRAUD), line("create", None, alias(1)), actor=ANN, environment="prod")
SECOND = applied(2, line("update", alias(1), alias(2)), actor=JOB)
NOTHING = applied(3, outcome="refused")
OPEN = applied(4, outcome="", ended_ms=None)
LAST = applied(5, line("delete", alias(2), None), line("forget", FRAUD, None), command="destroy")


def test_applies_are_two_lines_each() -> None:
    assert view.applies([LAST, OPEN, NOTHING, SECOND, FIRST]).splitlines() == [
        "2026-11-18 11:06:45 UTC  00000005  destroy  complete  somebody",
        "    1 deleted, 1 forgotten",
        "2026-11-18 11:06:44 UTC  00000004  apply    interrupted, or in progress  somebody",
        "    no changes",
        "2026-11-18 11:06:43 UTC  00000003  apply    refused  somebody",
        "    no changes",
        "2026-11-18 11:06:42 UTC  00000002  apply    complete  octo",
        "    1 updated; commit fedcba987654, https://ci.example/7",
        "2026-11-18 11:06:41 UTC  00000001  apply    complete  ann@laptop in prod",
        "    2 created; commit 0123456789ab with uncommitted changes, git.example:infra.git",
    ]


def test_an_object_is_told_from_what_to_what() -> None:
    assert view.of_address([LAST, SECOND, FIRST], CHAMPION).splitlines() == [
        "model_alias.fraud/champion",
        "",
        "2026-11-18 11:06:45 UTC  00000005  destroy  complete  somebody",
        "  deleted  (declared)",
        "      version  2",
        "",
        "2026-11-18 11:06:42 UTC  00000002  apply    complete  octo",
        "    commit fedcba987654, https://ci.example/7",
        "  updated  (declared)",
        "      ~ version  1 → 2",
        "",
        "2026-11-18 11:06:41 UTC  00000001  apply    complete  ann@laptop in prod",
        "    commit 0123456789ab with uncommitted changes, git.example:infra.git",
        "  created  (declared)",
        "      version  1",
    ]


def test_colour_is_beside_the_text() -> None:
    shown = view.applies([NOTHING, FIRST], Paint(True))
    assert "\x1b[33mrefused\x1b[0m" in shown
    assert "\x1b[32mcomplete\x1b[0m" in shown


@pytest.mark.parametrize(
    "field", ["user", "host", "ci", "run", "commit", "remote"], ids=lambda field: f"odd {field}"
)
def test_nothing_that_somebody_wrote_repaints_a_terminal(field: str) -> None:
    odd = replace(Actor("ann", "laptop", commit="0123"), **{field: "\x1b[2J\u202e\n"})
    strange = applied(1, line("update", alias(1), alias(2)), actor=odd, command="\x1b", environment="\r")
    strange = replace(strange, lines=(replace(strange.lines[0], action="\x07", reason="\x9b"),))
    for shown in (
        view.applies([strange]),
        view.of_address([strange], CHAMPION),
        json_view.document({"applies": [strange]}),
    ):
        assert all(char.isprintable() for char in shown.replace("\n", ""))


def test_as_json_everything_is_there() -> None:
    found = json.loads(json_view.document({"applies": [FIRST, OPEN]}))
    assert found["format_version"]
    first, second = found["applies"]
    assert first["apply_id"] == "00000001-of-1"
    assert first["started_ms"] == AT + 1000
    assert first["actor"]["commit"] == "0123456789abcdef"
    assert first["actor"]["dirty"] is True
    assert [(each["action"], each["address"]) for each in first["lines"]] == [
        ("create", "registered_model.fraud"),
        ("create", "model_alias.fraud/champion"),
    ]
    assert first["lines"][1]["before"] is None
    assert first["lines"][1]["after"] == {"model": "fraud", "alias": "champion", "version": 1}
    assert (second["outcome"], second["ended_ms"]) == ("", None)
