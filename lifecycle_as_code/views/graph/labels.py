"""What stands in and beside the nodes of a graph, whatever it is drawn with. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...model.plan import Action
from ...model.review import Traffic
from ...model.text import take_first
from ...review.graph import Edge, Graph, Node, Relation
from ..terminal.plan import SIGNS
from ..text import PARTICIPLES, counted, safe, shortened

MOST_ROWS = 5
"""Served entities that an endpoint's node names."""

LONGEST = 44
"""Of a line, in columns."""

EXPLAINED: Mapping[str, str] = {**PARTICIPLES, Action.MOVE: "renamed"}


@dataclass(frozen=True, slots=True)
class Label:
    """The lines of a node's text: its kind, its name with the sign of what happens to it, and the rest."""

    kind: str
    name: str
    rows: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All of them."""
        return self.kind, self.name, *self.rows


def label(node: Node) -> Label:
    """What stands in a node."""
    kind = node.address.kind.replace("_", " ")
    if node.stack:
        kind += f" of stack {node.stack}"
    sign = f"{SIGNS[node.action][0]} " if node.action else ""
    return Label(
        shortened(safe(kind), LONGEST),
        sign + shortened(safe(node.address.name), LONGEST - len(sign)),
        tuple(shortened(safe(row), LONGEST) for row in _rows(node)),
    )


def title(node: Node) -> str:
    """All about a node in one sentence, for those who hear it, or point at it."""
    words = [safe(node.address)]
    if node.stack:
        words.append(f"of stack {safe(node.stack)}")
    elif not node.declared:
        words.append("referred to, not declared here")
    if node.action:
        words.append(f"is {EXPLAINED[node.action]}")
    return "; ".join([", ".join(words), *(safe(row) for row in _all_rows(node))])


def relation(edge: Edge) -> str:
    """An edge as a sentence."""
    reached = ", and changes with it" if edge.reached and edge.relation is Relation.FOLLOWS else ""
    return f"{safe(edge.source)} {edge.relation} {safe(edge.target)}{reached}"


def left_out(graph: Graph) -> str:
    """That the picture isn't whole, and the way out; empty where it is."""
    if not graph.left_out:
        return ""
    more = counted(graph.left_out, "more object is", "more objects are")
    return f"{more} not drawn. Name ADDRESSes to draw a part; --format dot has everything."


def _rows(node: Node) -> Iterator[str]:
    yield from take_first(list(_all_rows(node)), MOST_ROWS)


def _all_rows(node: Node) -> Iterator[str]:
    if node.parts:
        yield f"with {counted(node.parts, 'part')}"
    for row in node.served:
        yield _served(row)


def _served(row: Traffic) -> str:
    """`champion: v3 → v4, 90 %`; of another stack's, which stays for now, `main: v3 (later v4), 90 %`."""
    before, after = _version(row.version_before), _version(row.version_after)
    moved = f"{before or 'nothing'} → {after or 'nothing'}"
    if before == after:
        moved = after or "version unknown"
    elif row.stack:
        moved = f"{before} (later {after})"
    share = "" if row.share is None else f", {row.share:g} %"
    return f"{row.entity}: {moved}{share}"


def _version(number: int | None) -> str:
    return "" if number is None else f"v{number}"
