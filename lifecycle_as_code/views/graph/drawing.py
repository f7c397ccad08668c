"""A graph as an SVG picture without scripts, in the reader's light or dark colours. Pure.

A node's dependencies stand to its left. Colours only repeat what signs and outlines say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from ...model.plan import Action
from ...review.graph import Edge, Graph, Node, Relation, fit_graph
from ..summary import SIGNS
from ..text import cells, pluralize
from .labels import WORDS, Label, label, left_out, relation, title
from .layers import Box, Point, arrange

MOST_NODES = 250
MOST_EDGES = 1000

_NAME, _SMALL = 13.0, 11.0
"""Sizes of letters, in pixels."""
_EM = 0.61
"""The width of a fixed-width font's letter in parts of its size, for the widest usual font."""
_PAD = 10.0
_MARGIN = 16.0
_LEADING = 1.35
_ROW = _SMALL * 1.6

STYLE = """\
.lac-graph{--g-text:#1f2328;--g-faint:#59636e;--g-line:#818b98;--g-box:#ffffff;--g-page:#ffffff;\
--g-create:#116329;--g-update:#8a4600;--g-delete:#a40e26;--g-move:#0550ae;--g-reached:#8250df;\
color:var(--g-text);font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media (prefers-color-scheme:dark){.lac-graph{--g-text:#f0f6fc;--g-faint:#9198a1;--g-line:#656c76;\
--g-box:#151b23;--g-page:#0d1117;--g-create:#3fb950;--g-update:#d29922;--g-delete:#f85149;--g-move:#4493f8;\
--g-reached:#ab7df8}}
.lac-graph text{fill:currentColor;font-size:13px;white-space:pre}
.lac-graph .small{font-size:11px}
.lac-graph .kind{fill:var(--g-faint)}
.lac-graph .page{fill:var(--g-page)}
.lac-graph rect.box{fill:var(--g-box);stroke:var(--g-line);stroke-width:1}
.lac-graph .referred rect.box{stroke-dasharray:4 3}
.lac-graph .reached rect.box{stroke:var(--g-reached);stroke-width:2}
.lac-graph .create{--g-line:var(--g-create)}
.lac-graph .update{--g-line:var(--g-update)}
.lac-graph .delete{--g-line:var(--g-delete)}
.lac-graph .move{--g-line:var(--g-move)}
.lac-graph .acted rect.box{stroke-width:2}
.lac-graph .acted .name{fill:var(--g-line);font-weight:600}
.lac-graph .edge path{fill:none;stroke:var(--g-line);stroke-width:1}
.lac-graph .edge .head{fill:var(--g-line);stroke:none}
.lac-graph .follows path{stroke-dasharray:6 3}
.lac-graph .edge.reached{--g-line:var(--g-reached)}
.lac-graph .edge.reached path{stroke-width:2}
"""


def svg(graph: Graph, *, is_embedded: bool = False) -> str:
    """The picture. `is_embedded`: an `<svg>` element for an HTML page, without a background, whose colours
    are variables (`--g-…`) that the page can set; otherwise a file.

    Of a large graph, the objects nearest to the plan's changes are drawn, and a line counts the others."""
    graph = fit_graph(graph, MOST_NODES, MOST_EDGES)
    labels = [label(node) for node in graph.nodes]
    places = {node.address: number for number, node in enumerate(graph.nodes)}
    edges = [(places[edge.source], places[edge.target]) for edge in graph.edges]
    layout = arrange([_size(text) for text in labels], edges)
    legend = list(_legend(graph))
    top = layout.height + _MARGIN
    width = max(layout.width, *(_wide(line, _SMALL) for line in legend), 1.0) + 2 * _MARGIN
    height = top + len(legend) * _ROW + 2 * _MARGIN
    about = f"{pluralize(len(graph.nodes), 'object')} with dependencies" if graph.nodes else "No objects"
    lines = [
        *([] if is_embedded else ['<?xml version="1.0" encoding="UTF-8"?>']),
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lac-graph" role="graphics-document"'
        f' aria-label="{about}" width="{_n(width)}" height="{_n(height)}"'
        f' viewBox="0 0 {_n(width)} {_n(height)}">',
        f"<title>{about}</title>",
        f"<style>\n{STYLE}</style>",
        *([] if is_embedded else ['<rect class="page" width="100%" height="100%"/>']),
        f'<g transform="translate({_n(_MARGIN)} {_n(_MARGIN)})">',
        *(_edge(edge, route) for edge, route in zip(graph.edges, layout.routes, strict=True)),
        *(_node(n, text, box) for n, text, box in zip(graph.nodes, labels, layout.boxes, strict=True)),
        *(
            f'<text class="small kind" x="0" y="{_n(top + number * _ROW)}">{escape(line)}</text>'
            for number, line in enumerate(legend, 1)
        ),
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _legend(graph: Graph) -> Iterator[str]:
    if not graph.nodes:
        yield "No objects."
        return
    if note := left_out(graph):
        yield note
    if graph.edges:
        follows = any(edge.relation is Relation.FOLLOWS for edge in graph.edges)
        yield "Arrows point to dependencies" + (
            "; dashed arrows to the alias that an endpoint follows." if follows else "."
        )
    actions = [action for action in Action if any(node.action is action for node in graph.nodes)]
    keys = [f"{SIGNS[action][0]} {WORDS[action]}" for action in actions]
    if any(edge.reached for edge in graph.edges):
        keys.append("purple: affected by a change")
    if any(not node.declared and not node.stack for node in graph.nodes):
        keys.append("dashed outline: referenced, not declared here")
    if keys:
        yield "   ".join(keys)


def _node(node: Node, text: Label, box: Box) -> str:
    x, y = box.x + _PAD, box.y + _PAD
    rows = [("small kind", text.kind, _SMALL), ("name", text.name, _NAME)]
    rows += [("small", row, _SMALL) for row in text.rows]
    drawn = []
    for style, line, size in rows:
        y += size * _LEADING
        drawn.append(f'<text class="{style}" x="{_n(x)}" y="{_n(y - size * 0.3)}">{escape(line)}</text>')
    words = escape(title(node))
    return (
        f'<g class="{_classes(node)}" role="graphics-symbol" aria-label="{words}"><title>{words}</title>'
        f'<rect class="box" x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}"'
        f' height="{_n(box.height)}" rx="6"/>{"".join(drawn)}</g>'
    )


def _classes(node: Node) -> str:
    state = f" acted {node.action}" if node.action else " reached" if node.served else ""
    return f"node{state}{'' if node.declared else ' referred'}"


def _edge(edge: Edge, route: Sequence[Point]) -> str:
    classes = f"edge {edge.relation}{' reached' if edge.reached else ''}"
    tip = route[-1]
    # the line ends where its arrowhead begins
    side = 7.0 if route[-2][0] > tip[0] else -7.0
    points = [*route[:-1], (tip[0] + side, tip[1])]
    path = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for number, ((from_x, from_y), (x, y)) in enumerate(pairwise(points)):
        # a curve between columns, a straight line past one
        half = _n((from_x + x) / 2)
        path += "L" if number % 2 else f"C{half} {_n(from_y)} {half} {_n(y)} "
        path += f"{_n(x)} {_n(y)}"
    head = f"M{_n(tip[0])} {_n(tip[1])}l{_n(side)} -4v8z"
    return (
        f'<g class="{classes}"><title>{escape(relation(edge))}</title>'
        f'<path d="{path}"/><path class="head" d="{head}"/></g>'
    )


def _size(text: Label) -> tuple[float, float]:
    small = [_wide(line, _SMALL) for line in (text.kind, *text.rows)]
    height = (_NAME + _SMALL * len(small)) * _LEADING + 2 * _PAD - 3
    return max(_wide(text.name, _NAME), *small) + 2 * _PAD, height


def _wide(line: str, size: float) -> float:
    return cells(line) * size * _EM


def _n(number: float) -> str:
    """A number to a tenth of a pixel, without a trailing zero."""
    return f"{number:.1f}".removesuffix(".0")
