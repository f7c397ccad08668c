"""A graph as text: DOT for Graphviz, Mermaid for Markdown; as a picture it is `drawing`'s. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...model.plan import Action
from ...review.graph import Edge, Graph, Node, fitted
from ..text import safe
from .drawing import svg
from .labels import label, left_out, relation, title

__all__ = ["dot", "mermaid", "svg"]

MOST_NODES = 150
MOST_EDGES = 450
MOST_CHARACTERS = 49_000
"""Mermaid's own limits are 500 edges and 50,000 characters; beyond, it draws an error."""

COLOURS = {
    Action.CREATE: "#1a7f37",
    Action.UPDATE: "#9a6700",
    Action.DELETE: "#cf222e",
    Action.MOVE: "#0969da",
}
"""On white and on black."""

_REACHED = "#8250df"

_PLAIN = re.compile(r"[A-Za-z0-9 _./@:%→,()+~-]|[^\x00-\x7f]")


def dot(graph: Graph) -> str:
    """Everything, in Graphviz's language: `lac graph | dot -Tsvg`. What is needed stands to the left."""
    return "\n".join(
        [
            "digraph lac {",
            '  rankdir="RL";',
            '  node [shape="box", style="rounded", fontname="monospace"];',
            *(_dot_node(node) for node in graph.nodes),
            *(_dot_edge(edge) for edge in graph.edges),
            "}\n",
        ]
    )


def _dot_node(node: Node) -> str:
    said = {"label": "\n".join(label(node).lines), "tooltip": title(node)}
    if node.action in COLOURS:
        said |= {"color": COLOURS[node.action], "fontcolor": COLOURS[node.action], "penwidth": "2"}
    elif node.served:
        said |= {"color": _REACHED, "penwidth": "2"}
    if not node.declared:
        said["style"] = "rounded,dashed"
    return f"  {_quoted(str(node.address))} [{_attributes(said)}];"


def _dot_edge(edge: Edge) -> str:
    said = {"tooltip": relation(edge)}
    if edge.relation != "needs":
        said["style"] = "dashed"
    if edge.reached:
        said |= {"color": _REACHED, "penwidth": "2"}
    more = f" [{_attributes(said)}]" if len(said) > 1 else ""
    return f"  {_quoted(str(edge.source))} -> {_quoted(str(edge.target))}{more};"


def _attributes(said: dict[str, str]) -> str:
    # Graphviz reads entities in texts
    return ", ".join(f"{name}={_quoted(text.replace('&', '&amp;'))}" for name, text in said.items())


def _quoted(text: str) -> str:
    r"""As Graphviz reads it back: a `\` of ours is one, the end of a line is `\n`."""
    lines = (safe(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'


def mermaid(graph: Graph) -> str:
    """A flowchart for a Markdown block ```` ```mermaid ````. Of very many objects those nearest to the plan's
    changes, and a line that says how many more there are."""
    nodes = MOST_NODES
    while len(text := _chart(fitted(graph, nodes, MOST_EDGES))) > MOST_CHARACTERS and nodes > 1:
        nodes //= 2
    return text


def _chart(graph: Graph) -> str:
    names = {node.address: f"n{number}" for number, node in enumerate(graph.nodes, 1)}
    note = left_out(graph)
    return "\n".join(
        [
            "flowchart RL",
            *(f'  {names[node.address]}["{_label(node)}"]{_class(node)}' for node in graph.nodes),
            *(f"  {names[edge.source]} {_arrow(edge)} {names[edge.target]}" for edge in graph.edges),
            *([f'  note["{_words(note)}"]'] if note else []),
            *_classes(graph),
            "",
        ]
    )


def _label(node: Node) -> str:
    return "<br>".join(map(_words, label(node).lines))


def _words(text: str) -> str:
    """Text that Mermaid takes for nothing else; `#35;` is its word for a character by number."""
    return "".join(char if _PLAIN.match(char) else f"#{ord(char)};" for char in text)


def _arrow(edge: Edge) -> str:
    if edge.reached:
        return "==>"
    return "-->" if edge.relation == "needs" else "-.->"


def _class(node: Node) -> str:
    if node.action in COLOURS:
        return f":::{node.action}"
    if node.served:
        return ":::reached"
    return "" if node.declared else ":::referred"


def _classes(graph: Graph) -> Iterator[str]:
    used = {_class(node).removeprefix(":::") for node in graph.nodes}
    drawn = {str(action): f"stroke:{colour},stroke-width:2px" for action, colour in COLOURS.items()}
    drawn |= {"reached": f"stroke:{_REACHED},stroke-width:2px", "referred": "stroke-dasharray:4 3"}
    return (f"  classDef {name} {style}" for name, style in drawn.items() if name in used)
