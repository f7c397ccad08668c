"""A plan as one HTML file: changes, evidence, blast radius and verdicts, for a browser without a network.
Pure.

The page has no script and loads nothing, as its own Content-Security-Policy declares. Every text goes through
`safe`, and the template engine escapes it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ...model.diagnostics import in_file_order
from ...model.plan import Change, Plan
from ...model.review import Outcome, Review, Verdict
from ...model.spec import Address
from ...review.graph import make_graph
from .. import reach, summary, versions
from ..graph.drawing import STYLE, svg
from ..text import pluralize, safe, split_code, value
from .bars import bars

MOST_CHANGES = 5_000
"""The most changes on the page: a browser has to hold them all."""

_MOST = 500
_VALUE = 2_000
_TEXT = 10_000
_MOST_OPEN = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A change with its part of the review. `urgent`: whether it needs attention. `is_open`: whether its
    section is open at first."""

    change: Change
    part: Review
    urgent: bool
    is_open: bool

    @property
    def objections(self) -> list[Verdict]:
        """The verdicts that didn't pass, the most severe first."""
        return summary.sort_verdicts(v for v in self.part.verdicts if v.outcome is not Outcome.PASSED)


def plan(plan: Plan) -> str:
    """The file's text, in ASCII, so that its encoding doesn't matter."""
    changes = summary.list_changes(plan)
    parts = plan.review.by_address()
    is_cut = len(changes) > MOST_CHANGES
    first = summary.sort_by_weight(changes, parts)[:MOST_CHANGES] if is_cut else changes
    entries = [*_entries(first, parts)]
    css = files(__name__).joinpath("plan.css").read_text("utf-8")
    graph = Markup(svg(make_graph(plan=plan), is_embedded=True)) if plan.differences else Markup("")
    page: str = _template().render(
        plan=plan,
        entries=entries,
        left=len(changes) - len(entries),
        repeats=versions.find_repeats(c for entry in entries for c in entry.part.evidence),
        css=Markup(css),
        policy=_policy(css, f"\n{STYLE}"),
        graph=graph,
        verdicts=summary.sort_verdicts(plan.review.verdicts),
        warnings=in_file_order(dict.fromkeys(plan.diagnostics)),
    )
    return page.strip().encode("ascii", "xmlcharrefreplace").decode("ascii")


def _entries(changes: Sequence[Change], parts: Mapping[Address, Review]) -> Iterator[Entry]:
    left = _MOST_OPEN
    for change in changes:
        part = parts.get(change.address, Review())
        urgent = summary.urgent(part)
        is_open = left > 0 and (urgent or len(changes) == 1)
        left -= is_open
        yield Entry(change, part, urgent, is_open)


def _policy(*styles: str) -> str:
    """A Content-Security-Policy that allows these styles alone."""
    digests = (b64encode(sha256(style.encode()).digest()).decode("ascii") for style in styles)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; style-src {sources}; base-uri 'none'; form-action 'none'"


@cache
def _template() -> Any:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        loader=FunctionLoader(lambda name: files(__name__).joinpath(name).read_text("utf-8")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cut": _cut, "value": lambda item: _cut(value(item)), "lines": _lines}
    environment.tests["text_of_lines"] = summary.is_text
    environment.globals |= {
        "bars": bars,
        "first": lambda items, most=_MOST: [*items][:most],
        "overview": summary,
        "pluralize": pluralize,
        "reach": reach,
        "versions": versions,
    }
    return environment.get_template("plan.html.j2")


def _visible(item: Any) -> Any:
    """The value of an expression in the template: our own markup, or a text on one line."""
    return item if isinstance(item, Markup) else "" if item is None else safe(item)


def _cut(text: object, most: int = _VALUE) -> str:
    """Both ends of a long text."""
    whole = str(text)
    if len(whole) <= most:
        return whole
    return f"{whole[: most * 2 // 3]} … {len(whole) - most:,} characters omitted … {whole[-most // 3 :]}"


def _lines(text: str) -> list[list[tuple[bool, str]]]:
    """Running text line by line, each in pieces of words and of code, which stands between backticks."""
    lines = [line for line in _cut(text, _TEXT).splitlines() if line.strip()]
    return [split_code(line) for line in lines[:_MOST]]
