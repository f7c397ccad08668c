"""A graph as text: DOT for Graphviz, Mermaid for Markdown. `drawing` makes the picture. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...model.plan import Action
from ...review.graph import Edge, Graph, Node, fit_graph
from ..text import safe
from .labels import label, left_out, relation, title

MOST_NODES = 150
MOST_EDGES = 450
MOST_CHARACTERS = 49_000
"""Mermaid draws an error above 500 edges or 50,000 characters."""

COLOURS = {
    Action.CREATE: "#1a7f37",
    Action.UPDATE: "#9a6700",
    Action.DELETE: "#cf222e",
    Action.MOVE: "#0969da",
}
"""Readable on white and on black."""

_AFFECTED = "#8250df"

_PLAIN = re.compile(r"[A-Za-z0-9 _./@:%→,()+~-]|[^\x00-\x7f]")


def dot(graph: Graph) -> str:
    """The whole graph in Graphviz's language, for `lac graph | dot -Tsvg`. Dependencies stand to the left."""
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
    attributes = {"label": "\n".join(label(node).lines), "tooltip": title(node)}
    if node.action in COLOURS:
        attributes |= {"color": COLOURS[node.action], "fontcolor": COLOURS[node.action], "penwidth": "2"}
    elif node.served:
        attributes |= {"color": _AFFECTED, "penwidth": "2"}
    if not node.declared:
        attributes["style"] = "rounded,dashed"
    return f"  {_quote(str(node.address))} [{_format_attributes(attributes)}];"


def _dot_edge(edge: Edge) -> str:
    attributes = {"tooltip": relation(edge)}
    if edge.relation != "needs":
        attributes["style"] = "dashed"
    if edge.reached:
        attributes |= {"color": _AFFECTED, "penwidth": "2"}
    more = f" [{_format_attributes(attributes)}]" if len(attributes) > 1 else ""
    return f"  {_quote(str(edge.source))} -> {_quote(str(edge.target))}{more};"


def _format_attributes(attributes: dict[str, str]) -> str:
    # Graphviz reads entities in texts
    return ", ".join(f"{name}={_quote(text.replace('&', '&amp;'))}" for name, text in attributes.items())


def _quote(text: str) -> str:
    r"""The text as Graphviz reads it back: `\` is escaped, the end of a line is `\n`."""
    lines = (safe(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'


def mermaid(graph: Graph) -> str:
    """A flowchart for a Markdown block ```` ```mermaid ````. Of a large graph it has the objects nearest to
    the plan's changes, and a line counts the others."""
    nodes = MOST_NODES
    while len(text := _chart(fit_graph(graph, nodes, MOST_EDGES))) > MOST_CHARACTERS and nodes > 1:
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
    """Text without Mermaid's markup; `#35;` is its word for a character by number."""
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
    names = {_class(node).removeprefix(":::") for node in graph.nodes}
    styles = {str(action): f"stroke:{colour},stroke-width:2px" for action, colour in COLOURS.items()}
    styles |= {"reached": f"stroke:{_AFFECTED},stroke-width:2px", "referred": "stroke-dasharray:4 3"}
    return (f"  classDef {name} {style}" for name, style in styles.items() if name in names)
