"""Plans and drift as the output of a notebook's cell. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup, escape

from ..model.plan import Change, Plan
from ..planning.drift import Drift
from . import html
from .text import counted, safe, value

MOST_ROWS = 500
_HEAD = Markup("<tr><th>Object<th>What happened<th>Field<th>Live<th>As applied</tr>")


def plan(shown: Plan) -> str:
    """The HTML report, in a frame: its styles are for a page of its own."""
    return Markup(
        '<iframe sandbox srcdoc="{}" style="width: 100%; height: 40em; border: 1px solid #8884"></iframe>'
    ).format(html.plan(shown))


def drift(shown: Drift) -> str:
    """What changed outside as a table, a row a field; then how much is pending."""
    rows = [row for change in shown.outside.changes for row in _rows(change)]
    parts = [Markup("<table>{}{}</table>").format(_HEAD, Markup("").join(rows[:MOST_ROWS]))] if rows else []
    if (left := len(rows) - MOST_ROWS) > 0:
        parts.append(Markup("<p>and {}</p>").format(counted(left, "more row")))
    if not rows:
        parts.append(Markup("<p>No drift. Nothing changed outside since the last apply.</p>"))
    pending = "unknown, for the manifests can't be planned"
    if shown.pending is not None:
        pending = counted(len(shown.pending.differences), "change")
    return Markup("").join([*parts, Markup("<p>Pending: {}.</p>").format(pending)])


def _rows(change: Change) -> Iterator[Markup]:
    told = [("", "", "")] if not change.fields else []
    told += [(field.name, value(field.before), value(field.after)) for field in change.fields]
    for field, live, applied in told:
        cells = (safe(change.address), change.reason, safe(field), live, applied)
        yield Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}").format(escape(c)) for c in cells))
