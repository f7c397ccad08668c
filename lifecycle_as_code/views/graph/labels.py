"""The texts of a graph's nodes and edges, for every language and picture. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...model.plan import Action
from ...model.review import Traffic
from ...model.text import take_first
from ...review.graph import Edge, Graph, Node, Relation
from ..summary import SIGNS
from ..text import PARTICIPLES, pluralize, safe, shorten_middle

MOST_ROWS = 5
"""The most served entities in an endpoint's node."""

LONGEST = 44
"""The most columns of a line."""

WORDS: Mapping[str, str] = {**PARTICIPLES, Action.MOVE: "renamed"}


@dataclass(frozen=True, slots=True)
class Label:
    """The lines of a node's text: its kind, its name with the action's sign, and the rest."""

    kind: str
    name: str
    rows: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines."""
        return self.kind, self.name, *self.rows


def label(node: Node) -> Label:
    """The text of a node."""
    kind = node.address.kind.replace("_", " ")
    if node.stack:
        kind += f" of stack {node.stack}"
    sign = f"{SIGNS[node.action][0]} " if node.action else ""
    return Label(
        shorten_middle(safe(kind), LONGEST),
        sign + shorten_middle(safe(node.address.name), LONGEST - len(sign)),
        tuple(shorten_middle(safe(row), LONGEST) for row in take_first(_rows(node), MOST_ROWS)),
    )


def title(node: Node) -> str:
    """A node in one sentence, for screen readers and tooltips."""
    words = [safe(node.address)]
    if node.stack:
        words.append(f"of stack {safe(node.stack)}")
    elif not node.declared:
        words.append("referenced, not declared here")
    if node.action:
        words.append(f"is {WORDS[node.action]}")
    return "; ".join([", ".join(words), *(safe(row) for row in _rows(node))])


def relation(edge: Edge) -> str:
    """An edge as a sentence."""
    effect = ", and changes with it" if edge.reached and edge.relation is Relation.FOLLOWS else ""
    return f"{safe(edge.source)} {edge.relation} {safe(edge.target)}{effect}"


def left_out(graph: Graph) -> str:
    """How many objects aren't drawn, and how to see them; empty where all are."""
    if not graph.left_out:
        return ""
    more = pluralize(graph.left_out, "more object is", "more objects are")
    return f"{more} not drawn. Pass ADDRESSes to draw a part, or --format dot to get everything."


def _rows(node: Node) -> list[str]:
    parts = [f"with {pluralize(node.parts, 'part')}"] if node.parts else []
    return [*parts, *map(_traffic, node.served)]


def _traffic(row: Traffic) -> str:
    """`champion: v3 → v4, 90 %`; of another stack, which changes later, `main: v3 (later v4), 90 %`."""
    before, after = (n if n is None else f"v{n}" for n in (row.version_before, row.version_after))
    versions = f"{before or 'nothing'} → {after or 'nothing'}"
    if before == after:
        versions = after or "version unknown"
    elif row.stack:
        versions = f"{before} (later {after})"
    share = "" if row.share is None else f", {row.share:g} %"
    return f"{row.entity}: {versions}{share}"
