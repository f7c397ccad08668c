"""Values are quoted and shortened so that they can be told apart."""

from __future__ import annotations

import pytest

from lifecycle_as_code.views.text import safe, shorten_middle, shorten_pair, value


def test_other_scripts_are_left_as_they_are() -> None:
    for text in ("カード\u3000決済", "Zażółć", "наука", "שלום", "🚀 naïve"):
        assert safe(text) == text


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        ("champion", "champion"),
        ("runs:/4f0c/model", "runs:/4f0c/model"),
        ("3", '"3"'),
        (3, "3"),
        ("1.10", '"1.10"'),
        ("no", '"no"'),
        (False, "false"),
        ("", '""'),
        (" x", '" x"'),
        ("a → b", '"a → b"'),
        ("2024-01-01", '"2024-01-01"'),
        ({"a": "é"}, '{"a": "é"}'),
        (("a", 1), '["a", 1]'),
        (None, "null"),
    ],
    ids=repr,
)
def test_a_string_that_could_be_something_else_is_quoted(item: object, shown: str) -> None:
    assert value(item) == shown


def test_both_ends_of_a_long_value_are_kept() -> None:
    text = shorten_middle("mlflow-artifacts:/1/models/m-0123456789abcdef/artifacts/MLmodel", 40)
    assert text.startswith("mlflow-artifacts:/")
    assert text.endswith("/MLmodel")
    assert len(text) == 40


def test_a_pair_that_parts_late_is_shown_from_shortly_before() -> None:
    before, after = shorten_pair("x" * 100 + "before", "x" * 100 + "after", 30)
    assert before.startswith("…")
    assert before.endswith("before")
    assert after.endswith("after")
