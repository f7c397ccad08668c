"""Expressions: what is met, what isn't and why, where one that can't be compiled is wrong, and limits."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from lifecycle_as_code.model.cel import MAX_LENGTH, Answer, Engine, EngineMissingError, FaultyError, names_in

NAMES = {
    "after.exists": "bool",
    "after.version": "int",
    "after.size": "int",
    "after.metrics": "map(string, double)",
    "after.tags": "map(string, string)",
    "after.aliases": "list(string)",
    "after.fields": "map(string, dyn)",
    "after.run.status": "string",
    "gains": "list(map(string, string))",
    "signature": "string",
    "secret": "string",
    "long": "string",
}

FACTS: dict[str, Any] = {
    "after.exists": True,
    "after.version": 4,
    "after.metrics": {"auc": 0.91, "f1 score": 0.5},
    "after.tags": {"team": "risk"},
    "after.aliases": ["challenger"],
    "after.fields": {"level": "READ", "description": None, "replicas": 2, "parts": [{"cpus": 1.5}]},
    "after.run.status": "FINISHED",
    "gains": [{"user": "eve", "after": "READ"}],
    "signature": "same",
    "secret": "ghp_" + "a" * 36,
    "long": "x" * 121,
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(NAMES)


def ask(engine: Engine, text: str, facts: dict[str, Any] = FACTS) -> Answer:
    return engine.compile(text).ask(engine.facts(facts))


TRUE = [
    'after.tags.team == "risk"',
    "after.metrics.auc >= 0.9",
    'after.metrics["f1 score"] < 0.6',
    '"challenger" in after.aliases',
    "has(after.metrics.auc) && !has(after.metrics.loss)",
    'after.fields.level == "READ" && after.fields.description == null && after.fields.replicas == 2',
    "after.fields.parts[0].cpus > 1.0",
    'gains.all(g, g.after != "MANAGE")',
    'after.run.status == "FINISHED" ? after.exists : false',
    'signature.matches("^sa") && after.version > 3',
    # what isn't there isn't looked at
    "true || after.metrics.loss > 0.0",
]


@pytest.mark.parametrize("text", TRUE)
def test_what_is_true_is_met(engine: Engine, text: str) -> None:
    assert ask(engine, text) == Answer(True)


NOT_MET = {
    "false": ("after.metrics.auc > 0.95", ""),
    "a key that isn't there": ("after.metrics.loss < 1.0", "there is no `loss`"),
    "a key that is a secret": ("after.fields[secret] == 1", "a key doesn't exist"),
    "a key that is long": ("after.fields[long] == 1", "a key doesn't exist"),
    "a key in a loop": ('gains.all(g, g.team == "x")', "there is no `team`"),
    "a value that isn't known": ("after.size < 10", "`after.size` is unknown"),
    "a list that is too short": ("after.fields.parts[3].cpus > 1.0", "the index is beyond the end of a list"),
    "no bool": ("after.fields.level", "it is neither true nor false"),
    "nothing": ("after.fields.description", "it is neither true nor false"),
    "a division by zero": ("4 / (after.version - 4) == 1", "it divides by zero"),
    "what can't be read": (
        'timestamp(signature) < timestamp("2026-11-24")',
        "it has no value",
    ),
    "a sort that doesn't fit": ("after.fields.level > 3", "it has no value"),
}


@pytest.mark.parametrize(("text", "why"), NOT_MET.values(), ids=NOT_MET)
def test_what_is_not_plainly_true_is_not_met_and_says_why(engine: Engine, text: str, why: str) -> None:
    assert ask(engine, text) == Answer(False, why)


def test_the_reason_repeats_no_value(engine: Engine) -> None:
    hostile = {**FACTS, "after.metrics": {"auc": "hunter2"}, "after.version": "hunter2"}
    for text in ("after.metrics.auc > 1.0", "after.version > 1"):
        answer = ask(engine, text, hostile)
        assert not answer.met
        assert answer.why == "it has no value"


FAULTS = {
    "a name": ("sig == 'x'", 1, 1, "`sig` is not known."),
    "a name's part": ('after.run.statuz == "X"', 1, 1, "`after.run.statuz` is not known."),
    "a name further on": ("after.exists && nope", 1, 17, "`nope` is not known."),
    "after letters that take two bytes": ('"éé" == nope', 1, 9, "`nope` is not known."),
    "on another line": ("after.exists\n  && nope", 2, 6, "`nope` is not known."),
    "a function": ("after.exists && f(1)", 1, 17, "There is no function `f`."),
    "types": ('after.version == "4"', 1, 15, "`==` can't be applied to int and string."),
    "an end": ("after.version >", 1, 16, "It ends too early."),
    "a character": ("after.version @ 3", 1, 15, "Syntax error: token recognition error at: '@'."),
    "a number": ("after.version + 1", 0, 0, "It evaluates to a whole number, not to true or false."),
    "a map": ("after.metrics", 0, 0, "It evaluates to a map, not to true or false."),
    "nothing at all": (" ", 0, 0, "It is empty."),
    "half of a character": ("'\ud800' == signature", 0, 0, "It contains an invalid character."),
    "a NUL": ("'\0' == signature", 0, 0, "It contains an invalid character."),
}


@pytest.mark.parametrize(("text", "line", "column", "detail"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_found_when_compiling_at_its_place(
    engine: Engine, text: str, line: int, column: int, detail: str
) -> None:
    with pytest.raises(FaultyError) as caught:
        engine.compile(text)
    first = caught.value.faults[0]
    assert (first.line, first.column, first.detail) == (line, column, detail)


def test_every_fault_is_told(engine: Engine) -> None:
    with pytest.raises(FaultyError) as caught:
        engine.compile("nope && also && after.version > 1.0")
    assert [fault.column for fault in caught.value.faults] == [1, 9, 31]
    assert "write `1.0`" in caught.value.faults[2].hint


def test_the_beginning_of_a_name_says_how_it_goes_on(engine: Engine) -> None:
    with pytest.raises(FaultyError) as caught:
        engine.compile("after.run == 'x'")
    assert caught.value.faults[0].hint == "name a part of it: `after.run.status`"


HUGE = {
    "parentheses": "(" * 900 + "true" + ")" * 900,
    "lists": "[" * 900 + "]" * 900 + " == []",
    "steps": "after.fields" + ".x" * 900 + " == 1",
    "sums": "1" + "+1" * 900 + " == 1",
    "choices": "true?true:" * 190 + "true",
    "loops": "[1].all(a," * 150 + "true" + ")" * 150,
    "length": "true || " * (MAX_LENGTH // 8) + "true",
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_what_is_huge_is_refused_and_ends_nothing(engine: Engine, text: str) -> None:
    with pytest.raises(FaultyError, match=r"nested too deeply|characters; at most 2,000"):
        engine.compile(text)


def test_nested_loops_are_bounded(engine: Engine) -> None:
    facts = {**FACTS, "after.aliases": [f"a{n}" for n in range(200)]}
    loops = "after.aliases.all(x, after.aliases.all(y, x != 'b' && y != 'b'))"
    assert ask(engine, loops, facts) == Answer(False, "it exceeds the limit of loop iterations")


def test_without_an_engine_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    with pytest.raises(EngineMissingError):
        Engine(NAMES)


NAMES_IN = {
    "names": ("after.metrics.auc >= before.metrics.auc", ["after.metrics.auc", "before.metrics.auc"]),
    "once": ("a.b == a.b", ["a.b"]),
    "keys": ("""a["f1 score"] > a['x'].y""", ["a.f1 score", "a.x.y"]),
    "not in texts": ("""a == "b.c" || a == 'd.e' // f.g""", ["a"]),
    "what is called on": ("a.b.exists(x, x == c.d)", ["a.b", "x", "c.d"]),
    "functions aren't": ("has(a.b) && size(c)", ["a.b", "c"]),
    "escapes": (r'"a \" b.c" == d', ["d"]),
}


@pytest.mark.parametrize(("text", "names"), NAMES_IN.values(), ids=NAMES_IN)
def test_the_names_in_an_expression_are_found(text: str, names: list[str]) -> None:
    assert [".".join(steps) for steps in names_in(text)] == names
