"""A plan and a drift as HTML for a notebook's cell. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup, escape

from ..model.plan import Change, Plan
from ..planning.drift import Drift
from . import html
from .text import pluralize, safe, value

MOST_ROWS = 500
_HEAD = Markup("<tr><th>Object<th>Reason<th>Field<th>Live<th>Last applied</tr>")


def plan(plan: Plan) -> str:
    """The HTML report, in a frame that keeps its styles apart."""
    return Markup(
        '<iframe sandbox srcdoc="{}" style="width: 100%; height: 40em; border: 1px solid #8884"></iframe>'
    ).format(html.plan(plan))


def drift(drift: Drift) -> str:
    """What changed outside lac as a table, a row a field; then the number of pending changes."""
    rows = [row for change in drift.outside.changes for row in _rows(change)]
    parts = [Markup("<table>{}{}</table>").format(_HEAD, Markup("").join(rows[:MOST_ROWS]))] if rows else []
    if (left := len(rows) - MOST_ROWS) > 0:
        parts.append(Markup("<p>and {}</p>").format(pluralize(left, "more row")))
    if not rows:
        parts.append(Markup("<p>No drift. Live state matches the last apply.</p>"))
    pending = "unknown, because the manifests can't be planned"
    if drift.pending is not None:
        pending = pluralize(len(drift.pending.differences), "change")
    return Markup("").join([*parts, Markup("<p>Pending: {}.</p>").format(pending)])


def _rows(change: Change) -> Iterator[Markup]:
    fields = [(safe(field.name), value(field.before), value(field.after)) for field in change.fields]
    for field in fields or [("", "", "")]:
        cells = (safe(change.address), change.reason, *field)
        yield Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}").format(escape(c)) for c in cells))
