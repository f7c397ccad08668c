"""How a problem reads, in which order problems are told, and what a hint suggests."""

from __future__ import annotations

import pytest

from lifecycle_as_code.model.diagnostics import (
    Diagnostic,
    LacError,
    Source,
    did_you_mean,
    in_file_order,
    refuse,
    warnings_in,
)

HERE = Source("models/fraud.yaml", 3, 5)
ERROR = Diagnostic("unknown-field", "unknown field", "`x` is not a field of model.")
WARNING = Diagnostic("odd", "is odd", "Very.", severity="warning")

READS = {
    "in full": (
        Diagnostic("unknown-field", "unknown field", "`x` is none.", "did you mean `y`?", HERE),
        "models/fraud.yaml:3:5: error[unknown-field]: unknown field\n"
        "  `x` is none.\n"
        "  hint: did you mean `y`?",
    ),
    "without a place": (WARNING, "warning[odd]: is odd\n  Very."),
    "of several lines": (
        Diagnostic("ray", "Ray refused", "one\ntwo"),
        "error[ray]: Ray refused\n  one\n  two",
    ),
    "without a detail": (Diagnostic("usage", "can't be understood", ""), "error[usage]: can't be understood"),
}


@pytest.mark.parametrize(("problem", "text"), READS.values(), ids=READS)
def test_a_problem_reads(problem: Diagnostic, text: str) -> None:
    assert str(problem) == text


def at(file: str, line: int, column: int = 1) -> Diagnostic:
    return Diagnostic("code", "summary", "detail", at=Source(file, line, column))


def test_problems_are_told_in_file_order_and_those_without_a_place_last() -> None:
    ordered = [at("a.yaml", 2), at("a.yaml", 10, 1), at("a.yaml", 10, 7), at("b.yaml", 1), ERROR, WARNING]
    assert in_file_order([ERROR, *reversed(ordered[:4]), WARNING]) == ordered


def test_an_error_refuses_and_a_warning_does_not() -> None:
    refuse([])
    refuse([WARNING])
    with pytest.raises(LacError) as caught:
        refuse([WARNING, ERROR, at("a.yaml", 1)])
    assert caught.value.diagnostics == (at("a.yaml", 1), ERROR)
    assert str(caught.value) == f"{at('a.yaml', 1)}\n{ERROR}"


def test_warnings_go_with_errors_where_they_may_explain_them() -> None:
    refuse([], beside=[WARNING])
    with pytest.raises(LacError) as caught:
        refuse([ERROR], beside=[WARNING, ERROR])
    assert caught.value.diagnostics == (WARNING, ERROR)


def test_warnings_are_told_apart() -> None:
    assert list(warnings_in([ERROR, WARNING])) == [WARNING]


HINTS = {
    "a near one": ("descripton", ["description", "name"], "did you mean `description`?"),
    "none is near": ("zzz", ["name", "description"], "known: description, name"),
    "none is known": ("zzz", [], ""),
}


@pytest.mark.parametrize(("name", "known", "hint"), HINTS.values(), ids=HINTS)
def test_a_hint_names_the_nearest_or_all(name: str, known: list[str], hint: str) -> None:
    assert did_you_mean(name, known) == hint
