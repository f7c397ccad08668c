"""The dependency graph of a stack's objects, with a plan's changes and the endpoints that they reach. Pure.
An edge goes from an object to one that it needs, as in Terraform's graphs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..model.diagnostics import Diagnostic, did_you_mean, refuse
from ..model.plan import Action, Plan
from ..model.review import Impact, Traffic
from ..model.snapshot import Desired
from ..model.spec import Address, Spec
from ..planning.ordering import sort_key
from ..planning.targeting import find_reachable, matches


class Relation(StrEnum):
    """The reason for an edge. An endpoint follows an alias, and serves a version or a model."""

    NEEDS = "needs"
    FOLLOWS = "follows"
    SERVES = "serves"


@dataclass(frozen=True, slots=True)
class Node:
    """One object. `declared`: whether the manifests declare it or the plan changes it, not only refer to it.
    `action`: the plan's. `stack`: its owner; empty for this stack. `within`: its parent, as an alias's model.
    `served`: the entities of an endpoint that the plan reaches. `parts`: how many are folded into it."""

    address: Address
    declared: bool = True
    action: Action | None = None
    stack: str = ""
    within: Address | None = None
    served: tuple[Traffic, ...] = ()
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` needs `target`. `reached`: a change of the target reaches the source."""

    source: Address
    target: Address
    relation: Relation = Relation.NEEDS
    reached: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and edges in the order of addresses. `left_out`: how many objects were cut from it."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    left_out: int = 0


def make_graph(desired: Desired = Desired(), plan: Plan | None = None) -> Graph:
    """The objects of `desired`, those that `plan` changes or reaches, and all references to others."""
    changes = {change.address: change for change in plan.differences} if plan else {}
    objects = dict(desired.objects)
    for change in changes.values():
        if change.side is not None:
            objects[change.address] = change.side
    edges = _needs(objects)
    nodes = {a: Node(a, action=changes[a].action if a in changes else None) for a in objects}
    for edge in edges:
        nodes.setdefault(edge.target, Node(edge.target, declared=False))
    if plan is not None:
        edges = _with_reach(nodes, edges, plan.review.impacts)
    within = _within(objects, edges)
    # an undeclared version belongs to its model like any other
    edges += [Edge(part, owner) for part, owner in within.items() if part not in objects]
    return Graph(
        tuple(replace(nodes[a], within=within.get(a)) for a in sorted(nodes, key=sort_key)),
        tuple(_in_order(_drop_implied(edges))),
    )


def select_part(graph: Graph, patterns: Sequence[str]) -> Graph:
    """The graph around these addresses or patterns. LacError with every pattern that matches nothing."""
    if not patterns:
        return graph
    addresses = [node.address for node in graph.nodes]
    unknown = [p for p in patterns if not any(matches(address, (p,)) for address in addresses)]
    refuse(
        Diagnostic(
            "no-such-address",
            "no object has this address",
            f"{pattern}: no object in the graph matches it.",
            hint=did_you_mean(pattern, list(map(str, addresses))) if len(addresses) <= 1000 else "",
        )
        for pattern in unknown
    )
    needs, needed_by = _neighbours(graph.edges)
    roots = [address for address in addresses if matches(address, patterns)]
    return _cut(graph, {*find_reachable(roots, needs), *find_reachable(roots, needed_by)})


def fit_graph(graph: Graph, nodes: int, edges: int) -> Graph:
    """The graph with at most so many nodes and edges. Parts are folded into their parents first; then the
    nodes farthest from the plan's changes are cut."""
    if len(graph.nodes) > nodes or len(graph.edges) > edges:
        graph = fold_parts(graph)
    if len(graph.nodes) <= nodes and len(graph.edges) <= edges:
        return graph
    needs, needed_by = _neighbours(graph.edges)
    nearest: set[Address] = set()
    count = 0
    for node in _nearest_first(graph, needs, needed_by):
        beside = nearest & {*needs[node.address], *needed_by[node.address]}
        if len(nearest) == nodes or count + len(beside) > edges:
            break
        nearest.add(node.address)
        count += len(beside)
    return replace(_cut(graph, nearest), left_out=graph.left_out + len(graph.nodes) - len(nearest))


def fold_parts(graph: Graph) -> Graph:
    """The graph with each part folded into its parent, unless the plan changes the part."""
    by_address = {node.address: node for node in graph.nodes}
    into = {
        node.address: node.within
        for node in graph.nodes
        if node.within in by_address and node.action is None and not node.served
    }
    parts: dict[Address, int] = defaultdict(int)
    for inner, outer in into.items():
        # a part of a folded part counts for the node that remains
        while outer in into:
            outer = into[outer]
        assert outer is not None
        into[inner] = outer
        parts[outer] += 1
    edges: dict[tuple[Address, Address], Edge] = {}
    for edge in graph.edges:
        source, target = into.get(edge.source) or edge.source, into.get(edge.target) or edge.target
        if source != target:
            twin = edges.get((source, target), edge)
            edges[source, target] = Edge(source, target, twin.relation, twin.reached or edge.reached)
    nodes = [replace(n, parts=n.parts + parts[n.address]) for n in graph.nodes if n.address not in into]
    return replace(graph, nodes=tuple(nodes), edges=tuple(_in_order(edges.values())))


def _needs(objects: Mapping[Address, Spec]) -> list[Edge]:
    edges = []
    for address, spec in objects.items():
        follows = set(spec.follows())
        edges += [
            Edge(address, ref, Relation.FOLLOWS if ref in follows else Relation.NEEDS)
            for ref in dict.fromkeys(spec.refs())
            if ref != address
        ]
    return edges


def _with_reach(nodes: dict[Address, Node], edges: Iterable[Edge], impacts: Iterable[Impact]) -> list[Edge]:
    """The edges and those along which changes reach endpoints; adds the endpoints to `nodes`."""
    by_ends = {(edge.source, edge.target): edge for edge in edges}
    served: dict[Address, dict[str, Traffic]] = defaultdict(dict)
    for impact in impacts:
        for row in impact.traffic:
            nodes.setdefault(row.endpoint, Node(row.endpoint, declared=not row.stack, stack=row.stack))
            # an endpoint's own change has all of its traffic
            if row.endpoint == impact.address or row.entity not in served[row.endpoint]:
                served[row.endpoint][row.entity] = row
            if row.endpoint != impact.address and impact.address in nodes:
                key = (row.endpoint, impact.address)
                relation = Relation.FOLLOWS if row.follows else Relation.SERVES
                by_ends[key] = replace(by_ends.get(key, Edge(*key, relation)), reached=True)
    for address, rows in served.items():
        nodes[address] = replace(nodes[address], served=tuple(rows[name] for name in sorted(rows)))
    return list(by_ends.values())


def _within(objects: Mapping[Address, Spec], edges: Iterable[Edge]) -> dict[Address, Address]:
    """The parent of each part: the object that it may be nested in; for undeclared ones, by their keys."""
    owners: dict[Address, Address] = {}
    for address, spec in objects.items():
        sections = {nest.section for nest in spec.nests}
        owner = next((r for r in spec.refs() if r in objects and objects[r].section in sections), None)
        if owner is not None:
            owners[address] = owner
    for edge in edges:
        owner, target = owners.get(edge.source), edge.target
        if owner and target not in objects and owner != target and owner.key == target.key[: len(owner.key)]:
            owners[target] = owner
    return owners


def _drop_implied(edges: Sequence[Edge]) -> Iterator[Edge]:
    """The edges without those that a longer path implies."""
    needs, _ = _neighbours(edges)
    below: dict[Address, frozenset[Address]] = {}

    def all_needs(address: Address) -> frozenset[Address]:
        if address not in below:
            below[address] = frozenset(find_reachable(needs[address], needs) - {address})
        return below[address]

    for edge in edges:
        others = (a for a in needs[edge.source] if a != edge.target and needs[a])
        plain = edge.relation is Relation.NEEDS and not edge.reached
        if not (plain and any(edge.target in all_needs(other) for other in others)):
            yield edge


def _neighbours(edges: Iterable[Edge]) -> tuple[dict[Address, list[Address]], dict[Address, list[Address]]]:
    needs: dict[Address, list[Address]] = defaultdict(list)
    needed_by: dict[Address, list[Address]] = defaultdict(list)
    for edge in edges:
        needs[edge.source].append(edge.target)
        needed_by[edge.target].append(edge.source)
    return needs, needed_by


def _cut(graph: Graph, addresses: Collection[Address]) -> Graph:
    return replace(
        graph,
        nodes=tuple(node for node in graph.nodes if node.address in addresses),
        edges=tuple(edge for edge in graph.edges if edge.source in addresses and edge.target in addresses),
    )


def _nearest_first(
    graph: Graph,
    needs: Mapping[Address, Collection[Address]],
    needed_by: Mapping[Address, Collection[Address]],
) -> Iterator[Node]:
    """The nodes that changes reach, then other changes, their neighbours by distance, and the rest."""
    by_address = {node.address: node for node in graph.nodes}
    reaching = {address for edge in graph.edges if edge.reached for address in (edge.source, edge.target)}
    endpoints = [node.address for node in graph.nodes if node.served or node.address in reaching]
    changes = [node.address for node in graph.nodes if node.action is not None]
    queue = [*dict.fromkeys([*endpoints, *changes])]
    visited = set(queue)
    rest = iter(graph.nodes)
    place = 0
    while True:
        while place < len(queue):
            address = queue[place]
            place += 1
            yield by_address[address]
            beside = sorted({*needs.get(address, ()), *needed_by.get(address, ())} - visited, key=sort_key)
            visited.update(beside)
            queue += beside
        apart = next((node.address for node in rest if node.address not in visited), None)
        if apart is None:
            return
        visited.add(apart)
        queue.append(apart)


def _in_order(edges: Iterable[Edge]) -> list[Edge]:
    return sorted(edges, key=lambda edge: (sort_key(edge.source), sort_key(edge.target)))
