"""Where the boxes of a graph go: in layers, by what they need, with few crossings. Pure geometry: no text, no
colours.

Sugiyama's method: layers by the longest way down, few crossings by barycentres, then positions as near to the
neighbours' as the gaps between boxes allow. Equal inputs give equal pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP_X = 56.0
GAP_Y = 14.0
_BETWEEN = 30.0
"""The gap between parts of the picture that no edge connects."""
_LANE = 8.0
"""The height of an edge that passes a layer."""
_SWEEPS = 8
_WIDTH = 1400.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A node's place, in pixels; `x` and `y` are its left upper corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """A box for each node, and for each edge the points from its source's left side to its target's right
    side; between two points in one column it goes straight past the boxes."""

    boxes: tuple[Box, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def arrange(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """The layout of nodes with these widths and heights. Edges go from a node to a dependency, which stands
    to its left; an edge that closes a circle goes the other way."""
    boxes: list[Box] = [Box(0, 0, 0, 0)] * len(sizes)
    routes: list[tuple[Point, ...]] = [()] * len(edges)
    parts = [_Part(members, mine, sizes, edges) for members, mine in _split(len(sizes), edges)]
    widest = max([_WIDTH, *(part.width for part in parts)])
    x = y = tallest = right = 0.0
    for part in parts:
        if x and x + part.width > widest:
            x, y, tallest = 0.0, y + tallest + _BETWEEN, 0.0
        for node, box in part.boxes.items():
            boxes[node] = Box(box.x + x, box.y + y, box.width, box.height)
        for edge, route in part.routes.items():
            routes[edge] = tuple((px + x, py + y) for px, py in route)
        right, tallest = max(right, x + part.width), max(tallest, part.height)
        x += part.width + _BETWEEN
    return Layout(tuple(boxes), tuple(routes), right, y + tallest)


class _Part:
    """One connected part: its own boxes and routes, from (0, 0) on.

    Inside, an edge that passes layers is cut into hops by lanes: numbers from the count of all nodes on."""

    def __init__(
        self,
        members: Sequence[int],
        mine: Sequence[int],
        sizes: Sequence[tuple[float, float]],
        edges: Sequence[tuple[int, int]],
    ) -> None:
        layer = _layers(members, [edges[e] for e in mine])
        self._heights = {node: sizes[node][1] for node in members}
        columns: dict[int, list[int]] = defaultdict(list)
        for node in members:
            columns[layer[node]].append(node)
        ways: dict[int, list[int]] = {}
        lane = len(sizes)
        for edge in mine:
            source, target = edges[edge]
            low, high = sorted((source, target), key=layer.__getitem__)
            way = [high]
            for number in range(layer[high] - 1, layer[low], -1):
                columns[number].append(lane)
                self._heights[lane] = _LANE
                way.append(lane)
                lane += 1
            ways[edge] = [*way, low]
        self._columns = [columns[number] for number in range(len(columns))]
        self._right: dict[int, list[int]] = defaultdict(list)
        self._left: dict[int, list[int]] = defaultdict(list)
        for way in ways.values():
            for high, low in pairwise(way):
                self._left[high].append(low)
                self._right[low].append(high)
        self._untangle()
        centres = self._place_nodes()
        widths = [max([sizes[n][0] for n in column if n < len(sizes)]) for column in self._columns]
        lefts = [sum(widths[:number]) + GAP_X * number for number in range(len(widths))]
        column_of = {node: number for number, column in enumerate(self._columns) for node in column}
        self.boxes = {
            node: Box(
                lefts[column_of[node]],
                centres[node] - sizes[node][1] / 2,
                widths[column_of[node]],
                sizes[node][1],
            )
            for node in members
        }
        self.width = lefts[-1] + widths[-1]
        self.height = max(box.y + box.height for box in self.boxes.values())
        self.height = max([self.height, *(centres[n] + h / 2 for n, h in self._heights.items())])
        self.routes = {}
        for edge, way in ways.items():
            points: list[Point] = []
            for node in way:
                left, y = lefts[column_of[node]], centres[node]
                points += [(left + widths[column_of[node]], y), (left, y)]
            points = points[1:-1]
            self.routes[edge] = tuple(points if way[0] == edges[edge][0] else reversed(points))

    def _untangle(self) -> None:
        """Order each column by the mean place of the neighbours beside it, there and back."""
        for sweep in range(_SWEEPS):
            forth = sweep % 2 == 0
            columns = self._columns if forth else self._columns[::-1]
            beside = self._left if forth else self._right
            for before, column in pairwise(columns):
                place = {node: number for number, node in enumerate(before)}
                ideals = {
                    node: _mean([place[n] for n in beside[node]], number)
                    for number, node in enumerate(column)
                }
                column.sort(key=ideals.__getitem__)

    def _place_nodes(self) -> dict[int, float]:
        """The centre of each node and lane: near its neighbours', and far enough from the next one's."""
        centres: dict[int, float] = {}
        for column in self._columns:
            y = 0.0
            for node in column:
                centres[node] = y + self._heights[node] / 2
                y += self._heights[node] + GAP_Y
        for sweep in range(_SWEEPS):
            for column in self._columns if sweep % 2 == 0 else self._columns[::-1]:
                ideals = [
                    _mean([centres[n] for n in (*self._left[node], *self._right[node])], centres[node])
                    for node in column
                ]
                gaps = [(self._heights[a] + self._heights[b]) / 2 + GAP_Y for a, b in pairwise(column)]
                centres.update(zip(column, spread(ideals, gaps), strict=True))
        top = min(centres[node] - height / 2 for node, height in self._heights.items())
        return {node: centre - top for node, centre in centres.items()}


def spread(ideals: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The places nearest to the ideal ones, by least squares, each at least `gaps[i]` past the one before. By
    pooling adjacent violators."""
    offsets = [0.0]
    for distance in gaps:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, int]] = []
    for place, offset in zip(ideals, offsets, strict=True):
        total, count = place - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            more, members = pools.pop()
            total, count = total + more, count + members
        pools.append((total, count))
    means = [total / count for total, count in pools for _ in range(count)]
    return [place + offset for place, offset in zip(means, offsets, strict=True)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _split(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[list[int], list[int]]]:
    """The nodes and the edges of each connected part, the first node's part first; single nodes last."""
    root = list(range(count))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for source, target in edges:
        a, b = find(source), find(target)
        root[max(a, b)] = min(a, b)
    parts: dict[int, tuple[list[int], list[int]]] = {}
    for node in range(count):
        parts.setdefault(find(node), ([], []))[0].append(node)
    for number, (source, _) in enumerate(edges):
        parts[find(source)][1].append(number)
    return sorted(parts.values(), key=lambda part: not part[1])


def _layers(members: Sequence[int], edges: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The length of the longest way down from each node. An edge that closes a circle is ignored."""
    needs: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        needs[source].append(target)
    layer: dict[int, int] = {}
    open_: set[int] = set()
    for start in members:
        stack = [start]
        while stack:
            node = stack[-1]
            if node in layer:
                stack.pop()
                continue
            open_.add(node)
            left = [n for n in needs[node] if n not in layer and n not in open_]
            if left:
                stack.append(left[0])
                continue
            layer[node] = 1 + max([layer[n] for n in needs[node] if n in layer], default=-1)
            open_.discard(node)
            stack.pop()
    return layer
