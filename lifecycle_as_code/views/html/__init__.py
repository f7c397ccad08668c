"""A plan as one HTML file: changes, evidence, blast radius, verdicts; for a browser without a network. Pure.

It has no script and loads nothing: what it may do is written down in its own Content-Security-Policy. Every
text is escaped by the template engine, and made visible by `safe` before that. It decides nothing.
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
from ..terminal import plan as human
from ..terminal.review import OUTCOMES
from ..text import counted, safe, value
from ..versions import Tone
from .bars import bars

MOST_CHANGES = 5_000
"""How many changes are told one by one: a browser has to hold them all."""

_MOST = 500
_VALUE = 2_000
_TEXT = 10_000
_OPENED = 3

_TONES: dict[Outcome, Tone] = {Outcome.DENIED: "bad", Outcome.PASSED: "good"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A change with what it is judged by. `opened`: whether it is shown open at first."""

    change: Change
    part: Review
    opened: bool = False

    @property
    def loud(self) -> list[Verdict]:
        """What policies have to say about it, the gravest first."""
        return [v for o in OUTCOMES if o is not Outcome.PASSED for v in self.part.verdicts if v.outcome is o]

    @property
    def urgent(self) -> bool:
        """A policy has something to say, callers break, or the cluster has no room."""
        return summary.urgent(self.part)


def plan(shown: Plan) -> str:
    """The file's text, in ASCII: it is the same whatever encoding it is written in."""
    changes = summary.listed(shown)
    judged = shown.review.by_address()
    told = changes if len(changes) <= MOST_CHANGES else summary.foremost(changes, judged)[:MOST_CHANGES]
    entries = [*_entries(told, judged)]
    repeated = versions.told_first(c for entry in entries for c in entry.part.evidence)
    css = files(__name__).joinpath("plan.css").read_text("utf-8")
    graph = Markup(svg(make_graph(plan=shown), embedded=True)) if shown.differences else Markup("")
    page: str = _template().render(
        shown=shown,
        entries=entries,
        left=len(changes) - len(entries),
        told=repeated,
        css=Markup(css),
        policy=_policy(css, f"\n{STYLE}"),
        graph=graph,
        verdicts=[v for outcome in OUTCOMES for v in shown.review.verdicts if v.outcome is outcome],
        warnings=in_file_order(dict.fromkeys(shown.diagnostics)),
    )
    return page.strip().encode("ascii", "xmlcharrefreplace").decode("ascii")


def _entries(changes: Sequence[Change], judged: Mapping[Address, Review]) -> Iterator[Entry]:
    left = _OPENED
    for change in changes:
        part = judged.get(change.address, Review())
        opened = left > 0 and (summary.urgent(part) or len(changes) == 1)
        left -= opened
        yield Entry(change, part, opened)


def _policy(*styles: str) -> str:
    """Nothing but these very styles."""
    hashes = (b64encode(sha256(style.encode()).digest()).decode("ascii") for style in styles)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; style-src {allowed}; base-uri 'none'; form-action 'none'"


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
        "counted": counted,
        "first": lambda items, most=_MOST: [*items][:most],
        "human": human,
        "overview": summary,
        "reach": reach,
        "tones": _TONES,
        "versions": versions,
    }
    return environment.get_template("plan.html.j2")


def _visible(item: Any) -> Any:
    """What an expression of the template comes to: markup of ours, or a text on one line."""
    return item if isinstance(item, Markup) else "" if item is None else safe(item)


def _cut(text: object, most: int = _VALUE) -> str:
    """Both ends of a text that is too long."""
    whole = str(text)
    if len(whole) <= most:
        return whole
    return f"{whole[: most * 2 // 3]} … {len(whole) - most:,} characters more … {whole[-most // 3 :]}"


def _lines(text: str) -> list[list[tuple[bool, str]]]:
    """Running text line by line, each in pieces: code, where it stands between backticks, and words."""
    lines = [line for line in _cut(text, _TEXT).splitlines() if line.strip()]
    return [_pieces(line) for line in lines[:_MOST]]


def _pieces(line: str) -> list[tuple[bool, str]]:
    pieces = line.split("`")
    if len(pieces) % 2 == 0:
        return [(False, line)]
    return [(number % 2 == 1, piece) for number, piece in enumerate(pieces) if piece]
