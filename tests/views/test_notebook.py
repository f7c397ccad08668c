"""What a notebook shows of a plan and of drift."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from support.sample_plans import HOSTILE, always, changed, planned, rich

from lifecycle_as_code import stack  # noqa: F401 - what opens a stack is what makes its types show themselves
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.plan import Plan
from lifecycle_as_code.planning.drift import Drift
from lifecycle_as_code.views import html


class Elements(HTMLParser):
    """Every element with its attributes, and every text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def shown(what: object) -> Elements:
    return Elements(getattr(what, "_repr_html_")())  # noqa: B009 - as notebooks do, for no type declares it


def test_a_plan_shows_its_report_in_a_frame_of_its_own() -> None:
    plan = rich()
    ((tag, attributes),) = shown(plan).found
    assert (tag, attributes["srcdoc"]) == ("iframe", html.plan(plan))
    assert "sandbox" in attributes


BEFORE = RegisteredModel(name="fraud", description="By hand.")
AFTER = RegisteredModel(name="fraud", description="As declared.")


def test_drift_shows_a_table_with_a_row_for_each_field() -> None:
    told = shown(Drift(planned(changed(BEFORE, AFTER, "changed outside")), planned()))
    row = ["registered_model.fraud", "changed outside", "description", "By hand.", "As declared."]
    assert [text for text in told.texts if text in row] == row
    assert "Pending: 0 changes." in told.texts


@pytest.mark.parametrize(
    ("pending", "says"), [(planned(), "0 changes"), (None, "unknown, because the manifests can't be planned")]
)
def test_without_drift_it_is_said(pending: Plan | None, says: str) -> None:
    told = shown(Drift(planned(), pending))
    assert told.texts == ["No drift. Live state matches the last apply.", f"Pending: {says}."]


@pytest.mark.parametrize("word", HOSTILE)
def test_no_text_of_anybodys_becomes_markup(word: str) -> None:
    told = shown(Drift(rich(always(word)), rich(always(word))))
    assert {tag for tag, _ in told.found} <= {"table", "tr", "th", "td", "p"}
    assert all(not attributes for _, attributes in told.found)
