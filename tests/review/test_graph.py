"""What needs what, drawn: the graph itself, its DOT and Mermaid, and a picture in which nothing overlaps."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mlflow_fixture import fresh_sqlite
from support.sample_plans import changed

from lifecycle_as_code.cli import run
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.plan import Action, Change, Plan
from lifecycle_as_code.model.review import Impact, Review, Traffic
from lifecycle_as_code.model.snapshot import Desired
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.review.graph import (
    Edge,
    Graph,
    Node,
    Relation,
    fit_graph,
    fold_parts,
    make_graph,
    select_part,
)
from lifecycle_as_code.views.graph.drawing import MOST_NODES, svg
from lifecycle_as_code.views.graph.layers import Box, arrange, spread
from lifecycle_as_code.views.graph.text import dot, mermaid

MODEL = RegisteredModel(name="fraud")
FIRST, SECOND = (ModelVersion(model="fraud", version=n, source=f"/files/{n}") for n in (1, 2))
CHAMPION = ModelAlias(model="fraud", alias="champion", version=1)
ENDPOINT = ServingEndpoint(
    name="fraud",
    served_entities=(ServedEntity(name="champion", entity_name="fraud", entity_version="@champion"),),
)
ANALYSTS = Role(name="analysts", members=("ana",))
READ = Permission(role="analysts", resource_type="registered_model", resource="fraud", level="READ")
ALL = [MODEL, FIRST, SECOND, CHAMPION, ENDPOINT, ANALYSTS, READ]


def desired(specs: Iterable[Spec]) -> Desired:
    return Desired({spec.address: spec for spec in specs})


def links(graph: Graph) -> set[tuple[str, str, str]]:
    return {(str(edge.source), str(edge.relation), str(edge.target)) for edge in graph.edges}


def promotion() -> Plan:
    """The champion moves from 1 to 2, and with it this endpoint, and in time another stack's."""
    entity = ENDPOINT.served_entities[0]
    sides = [
        ENDPOINT.model_copy(
            update={
                "served_entities": (entity.model_copy(update={"entity_version": n, "follows": "@champion"}),)
            }
        )
        for n in (1, 2)
    ]
    after = ModelAlias(model="fraud", alias="champion", version=2)
    alias = Change(CHAMPION.address, CHAMPION.store, Action.UPDATE, "manifest changed", CHAMPION, after)
    moved = Change(ENDPOINT.address, ENDPOINT.store, Action.UPDATE, "follows", *sides)
    mine = Traffic(ENDPOINT.address, "champion", "", 100, "@champion", 1, 2, moves=True)
    theirs = Traffic(Address("serving_endpoint", ("risk",)), "main", "risk", 100, "@champion", 1, 2)
    review = Review(impacts=(Impact(alias.address, (mine, theirs)), Impact(moved.address, (mine,))))
    return Plan("payments", "", (alias, moved), (), review=review)


# --- the graph


def test_an_object_points_to_what_it_needs_and_to_nothing_that_follows_from_that() -> None:
    graph = make_graph(desired(ALL))
    assert links(graph) == {
        ("model_version.fraud/1", "needs", "registered_model.fraud"),
        ("model_version.fraud/2", "needs", "registered_model.fraud"),
        # not also to the model: the version needs it
        ("model_alias.fraud/champion", "needs", "model_version.fraud/1"),
        ("serving_endpoint.fraud", "follows", "model_alias.fraud/champion"),
        ("permission.analysts/registered_model/fraud", "needs", "registered_model.fraud"),
        ("permission.analysts/registered_model/fraud", "needs", "role.analysts"),
        ("role.analysts", "needs", "user.ana"),
    }
    assert [str(n.address) for n in graph.nodes if not n.declared] == ["user.ana"]
    assert {str(n.address): str(n.within) for n in graph.nodes if n.within} == {
        "model_alias.fraud/champion": "registered_model.fraud",
        "model_version.fraud/1": "registered_model.fraud",
        "model_version.fraud/2": "registered_model.fraud",
        "permission.analysts/registered_model/fraud": "registered_model.fraud",
    }


def test_a_version_that_nobody_declares_hangs_on_its_model() -> None:
    graph = make_graph(desired([MODEL, CHAMPION]))
    assert links(graph) == {
        ("model_alias.fraud/champion", "needs", "model_version.fraud/1"),
        ("model_version.fraud/1", "needs", "registered_model.fraud"),
    }
    assert [(str(n.address), n.declared) for n in graph.nodes if n.address.kind == "model_version"] == [
        ("model_version.fraud/1", False)
    ]


def test_a_plan_adds_what_happens_and_how_far_it_reaches() -> None:
    graph = make_graph(desired(ALL), promotion())
    nodes = {str(node.address): node for node in graph.nodes}
    assert {a: n.action for a, n in nodes.items() if n.action} == {
        "model_alias.fraud/champion": Action.UPDATE,
        "serving_endpoint.fraud": Action.UPDATE,
    }
    # as it will be
    assert ("model_alias.fraud/champion", "needs", "model_version.fraud/2") in links(graph)
    assert {str(e.source) for e in graph.edges if e.reached} == {
        "serving_endpoint.fraud",
        "serving_endpoint.risk",
    }
    assert nodes["serving_endpoint.risk"].stack == "risk"
    assert [row.version_after for row in nodes["serving_endpoint.fraud"].served] == [2]


def test_a_plan_alone_has_what_it_changes_and_reaches() -> None:
    graph = make_graph(plan=promotion())
    assert [str(node.address) for node in graph.nodes] == [
        "model_alias.fraud/champion",
        "model_version.fraud/2",
        "registered_model.fraud",
        "serving_endpoint.fraud",
        "serving_endpoint.risk",
    ]


def test_what_is_deleted_is_in_the_graph_as_it_was() -> None:
    gone = Change(CHAMPION.address, CHAMPION.store, Action.DELETE, "no longer declared", CHAMPION, None)
    forgotten = Change(READ.address, READ.store, Action.FORGET, "already gone", None, None)
    graph = make_graph(desired([MODEL, FIRST]), Plan("payments", "", (gone, forgotten), ()))
    assert {str(node.address): node.action for node in graph.nodes} == {
        "model_alias.fraud/champion": Action.DELETE,
        "model_version.fraud/1": None,
        "registered_model.fraud": None,
    }


ABOUT: dict[str, tuple[list[str], set[str]]] = {
    "an alias": (
        ["model_alias.fraud/champion"],
        {
            "registered_model.fraud",
            "model_version.fraud/1",
            "model_alias.fraud/champion",
            "serving_endpoint.fraud",
        },
    ),
    "a pattern": (["role.*"], {"role.analysts", "user.ana", "permission.analysts/registered_model/fraud"}),
    "two": (
        ["role.analysts", "model_version.fraud/2"],
        {
            "role.analysts",
            "user.ana",
            "permission.analysts/registered_model/fraud",
            "model_version.fraud/2",
            "registered_model.fraud",
        },
    ),
}


@pytest.mark.parametrize(("patterns", "left"), ABOUT.values(), ids=ABOUT)
def test_addresses_cut_it_down_to_what_they_need_and_what_needs_them(
    patterns: list[str], left: set[str]
) -> None:
    assert {str(node.address) for node in select_part(make_graph(desired(ALL)), patterns).nodes} == left


def test_an_address_that_is_nowhere_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(LacError) as refused:
        select_part(make_graph(desired(ALL)), ["model_alias.fraud/champoin", "role.*", "nothing.*"])
    assert [(d.code, d.detail.partition(":")[0]) for d in refused.value.diagnostics] == [
        ("no-such-address", "model_alias.fraud/champoin"),
        ("no-such-address", "nothing.*"),
    ]
    assert refused.value.diagnostics[0].hint == "did you mean `model_alias.fraud/champion`?"


def test_parts_fold_into_their_model_but_for_those_that_change() -> None:
    graph = fold_parts(make_graph(desired(ALL), promotion()))
    assert {str(node.address): node.parts for node in graph.nodes} == {
        "model_alias.fraud/champion": 0,
        "registered_model.fraud": 3,
        "role.analysts": 0,
        "serving_endpoint.fraud": 0,
        "serving_endpoint.risk": 0,
        "user.ana": 0,
    }
    assert ("registered_model.fraud", "needs", "role.analysts") in links(graph)
    assert ("model_alias.fraud/champion", "needs", "registered_model.fraud") in links(graph)


def test_what_does_not_fit_is_what_is_farthest_from_the_changes() -> None:
    apart = [RegisteredModel(name=f"a{n:03}") for n in range(50)]
    graph = fit_graph(make_graph(desired([*apart, *ALL]), promotion()), 5, 100)
    assert {str(node.address) for node in graph.nodes} == {
        "model_alias.fraud/champion",
        "registered_model.fraud",
        "role.analysts",
        "serving_endpoint.fraud",
        "serving_endpoint.risk",
    }
    assert graph.left_out == 51
    # however much is merely created
    models = [changed(None, RegisteredModel(name=f"a{n:03}")) for n in range(50)]
    plan = promotion()
    crowded = make_graph(plan=replace(plan, changes=(*models, *plan.changes)))
    assert [str(node.address) for node in fit_graph(crowded, 3, 100).nodes] == [
        "model_alias.fraud/champion",
        "serving_endpoint.fraud",
        "serving_endpoint.risk",
    ]
    few = fit_graph(make_graph(desired([*apart, *ALL])), 1000, 2)
    assert len(few.edges) <= 2
    assert few.left_out > 0


# --- DOT and Mermaid

QUOTED = r'"(?:[^"\\]|\\.)*"'
ATTRIBUTES = rf"\[[a-z]+={QUOTED}(?:, [a-z]+={QUOTED})*\]"
DOT_LINES = re.compile(
    rf"digraph lac \{{|  rankdir=\"RL\";|  node {ATTRIBUTES};|  {QUOTED} {ATTRIBUTES};"
    rf"|  {QUOTED} -> {QUOTED}(?: {ATTRIBUTES})?;|\}}"
)
MERMAID_LINES = re.compile(
    r"flowchart RL|  (?:n\d+|note)\[\"[^\"<>`\[\]{}|&\\]*(?:<br>[^\"<>`\[\]{}|&\\]*)*\"\](?::::[a-z]+)?"
    r"|  n\d+ (?:-->|-\.->|==>) n\d+|  classDef [a-z]+ [a-z0-9#:,\- ]+"
)

HOSTILE = [
    'quote" -> "x',
    "back\\slash\\",
    "&lt;b&gt; <script>alert(1)</script> & ]]>",
    "`md` #quot; [x](y) {z} |p| ;",
    "\x1b[31mred\x07\x00",
    "line\nbreak\r\ttab",
    "rtl\u202etxt \ud800 \ufffe",
    "統計 モデル 🚀",
    "w" * 500,
]


def hostile() -> Graph:
    nodes = tuple(
        Node(
            Address("registered_model", (name,)),
            stack=name if n % 2 else "",
            action=Action.UPDATE if n % 3 else None,
            served=(Traffic(Address("serving_endpoint", (name,)), name, name, 12.5, "@a", None, 3),),
        )
        for n, name in enumerate(HOSTILE)
    )
    return Graph(nodes, tuple(Edge(a.address, b.address, Relation.FOLLOWS, True) for a, b in pairwise(nodes)))


GRAPHS = {
    "nothing": Graph(),
    "manifests": make_graph(desired(ALL)),
    "a plan": make_graph(desired(ALL), promotion()),
    "hostile names": hostile(),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_dot_is_dot_whatever_things_are_called(graph: Graph) -> None:
    lines = dot(graph).splitlines()
    assert [line for line in lines if not DOT_LINES.fullmatch(line)] == []
    assert len(lines) == 4 + len(graph.nodes) + len(graph.edges)
    declared = {line.partition(" [")[0].strip() for line in lines[3 : 3 + len(graph.nodes)]}
    assert len(declared) == len(graph.nodes)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_mermaid_is_mermaid_whatever_things_are_called(graph: Graph) -> None:
    lines = mermaid(graph).splitlines()
    assert [line for line in lines if not MERMAID_LINES.fullmatch(line)] == []
    assert sum("[" in line for line in lines) == len(graph.nodes)
    assert sum(">" in line and "[" not in line for line in lines) == len(graph.edges)


def test_a_plan_shows_in_every_language() -> None:
    graph = make_graph(desired(ALL), promotion())
    assert '"model_alias.fraud/champion" [label="model alias\\n~ fraud/champion"' in dot(graph)
    assert "champion: v1 → v2, 100 %" in dot(graph)
    assert '"]:::update' in mermaid(graph)
    assert "serving endpoint of stack risk<br>risk<br>main: v1 (later v2), 100 %" in mermaid(graph)
    assert "==>" in mermaid(graph)
    assert "~ fraud/champion" in svg(graph)
    assert "purple: affected by a change" in svg(graph)


def test_a_chart_is_never_longer_than_mermaid_reads() -> None:
    rows = tuple(Traffic(FIRST.address, "#" * 60 + str(n), "", 50, "", 1, 2) for n in range(5))
    nodes = tuple(Node(Address("registered_model", (f"m{n}" + "#" * 80,)), served=rows) for n in range(400))
    chart = mermaid(Graph(nodes))
    assert 20_000 < len(chart) < 50_000
    assert "more objects are not drawn" in chart


# --- the picture

SVG = "{http://www.w3.org/2000/svg}"


def boxes(picture: str) -> list[Box]:
    found = [r for r in ElementTree.fromstring(picture).iter(f"{SVG}rect") if r.get("class") == "box"]
    return [Box(*(float(r.attrib[name]) for name in ("x", "y", "width", "height"))) for r in found]


def apart(a: Box, b: Box) -> bool:
    return a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y


@pytest.mark.parametrize("embedded", [False, True], ids=["a file", "embedded"])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_a_picture_is_xml_without_anything_to_load_or_to_run(graph: Graph, embedded: bool) -> None:
    picture = svg(graph, is_embedded=embedded)
    assert picture.startswith("<svg " if embedded else "<?xml ")
    root = ElementTree.fromstring(picture)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "style", "rect", "g", "text", "path")
    }
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or "href" in name}
    assert "url(" not in picture
    assert "@import" not in picture
    # ESC, NUL and what turns the direction are escaped
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800\ufffe]", picture)
    nodes = [g for g in root.iter(f"{SVG}g") if "node" in (g.get("class") or "").split()]
    assert len(nodes) == len(graph.nodes)
    assert all(g[0].tag == f"{SVG}title" and g[0].text == g.get("aria-label") for g in nodes)
    assert all(apart(a, b) for a, b in combinations(boxes(picture), 2))


def test_texts_stay_in_their_boxes() -> None:
    """By the width of the widest fixed-width font that is usual; others are narrower."""
    for group in ElementTree.fromstring(svg(hostile())).iter(f"{SVG}g"):
        box = next((r for r in group.findall(f"{SVG}rect")), None)
        if box is None:
            continue
        for line in group.findall(f"{SVG}text"):
            size = 13 if line.get("class") == "name" else 11
            assert line.text is not None
            right = float(line.attrib["x"]) + len(line.text) * size * 0.602
            assert right <= float(box.attrib["x"]) + float(box.attrib["width"])
            bottom = float(box.attrib["y"]) + float(box.attrib["height"])
            assert float(box.attrib["y"]) < float(line.attrib["y"]) < bottom


@st.composite
def some_graphs(draw: st.DrawFn) -> Graph:
    """Not only what our kinds can make: circles as well."""
    count = draw(st.integers(1, 24))
    names = [Address("registered_model", (f"m{n}" * (1 + n % 4),)) for n in range(count)]
    number = st.integers(0, count - 1)
    pairs = draw(st.sets(st.tuples(number, number).filter(lambda pair: pair[0] != pair[1]), max_size=50))
    rows = [Traffic(names[0], "a", "", 50, "", 1, 2)]
    nodes = [Node(name, served=tuple(rows * (n % 5))) for n, name in enumerate(names)]
    return Graph(tuple(nodes), tuple(Edge(names[a], names[b]) for a, b in sorted(pairs)))


@given(some_graphs())
@settings(max_examples=60)
def test_no_two_boxes_overlap_and_no_edge_goes_through_one(graph: Graph) -> None:
    index = {node.address: n for n, node in enumerate(graph.nodes)}
    sizes = [(60.0 + 7 * n % 90, 40.0 + 13 * (n % 5)) for n in range(len(graph.nodes))]
    edges = [(index[e.source], index[e.target]) for e in graph.edges]
    layout = arrange(sizes, edges)
    assert all(apart(a, b) for a, b in combinations(layout.boxes, 2))
    for box, (width, height) in zip(layout.boxes, sizes, strict=True):
        assert box.width >= width
        assert box.height == height
        assert box.x >= 0
        assert box.x + box.width <= layout.width + 1e-6
        assert box.y >= -1e-6
        assert box.y + box.height <= layout.height + 1e-6
    for route in layout.routes:
        # where an edge passes a column, no box is in its way
        for (x1, y1), (x2, y2) in list(pairwise(route))[1::2]:
            assert y1 == y2
            assert not any(
                b.x < max(x1, x2) and min(x1, x2) < b.x + b.width and b.y < y1 < b.y + b.height
                for b in layout.boxes
            )


@given(st.lists(st.tuples(st.floats(-500, 500), st.floats(1, 50)), min_size=1, max_size=12))
def test_places_keep_their_distance_and_stay_where_they_are_wanted_if_they_can(
    wanted: list[tuple[float, float]],
) -> None:
    distances = [distance for _, distance in wanted[1:]]
    found = spread([place for place, _ in wanted], distances)
    assert all(b - a >= d - 1e-6 for (a, b), d in zip(pairwise(found), distances, strict=True))
    assert spread(found, distances) == pytest.approx(found)


@given(st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_the_order_of_the_manifests_draws_the_same_picture(chance: random.Random) -> None:
    shuffled = list(ALL)
    chance.shuffle(shuffled)
    graph, again = make_graph(desired(ALL), promotion()), make_graph(desired(shuffled), promotion())
    assert graph == again
    for view in (dot, mermaid, svg):
        assert view(graph) == view(again)


def test_thousands_of_objects_are_drawn_soon_and_in_part() -> None:
    specs: list[Spec] = [Role(name=f"r{n}", members=(f"u{n}",)) for n in range(20)]
    for n in range(700):
        name = f"m{n}"
        specs += [RegisteredModel(name=name)]
        specs += [ModelVersion(model=name, version=v, source=f"/files/{v}") for v in (1, 2, 3)]
        specs += [ModelAlias(model=name, alias=a, version=v) for a, v in (("champion", 2), ("challenger", 3))]
        specs += [
            Permission(role=f"r{n % 20}", resource_type="registered_model", resource=name, level="READ")
        ]
    assert len(specs) > 4900
    graph = make_graph(desired(specs))
    began = time.process_time()
    picture, chart, text = svg(make_graph(desired(specs))), mermaid(graph), dot(graph)
    assert time.process_time() - began < 2
    assert len(boxes(picture)) == MOST_NODES
    for drawn in (picture, chart):
        assert "more objects are not drawn" in drawn
    assert len(chart) < 50_000
    assert text.count(" [label=") == len(graph.nodes)


# --- the command


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    (tmp_path / "lac.yaml").write_text("name: payments\n")
    (tmp_path / "models.yaml").write_text(
        "registered_models:\n  - name: fraud\n    versions: [{version: 1, source: s3://models/1}]\n"
        "    aliases: {champion: 1}\n"
    )
    return tmp_path


def test_manifests_alone_are_drawn_without_a_store(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-C", str(stack), "graph"]) == 0
    assert capsys.readouterr().out == (
        'digraph lac {\n  rankdir="RL";\n  node [shape="box", style="rounded", fontname="monospace"];\n'
        '  "model_alias.fraud/champion" [label="model alias\\nfraud/champion",'
        ' tooltip="model_alias.fraud/champion"];\n'
        '  "model_version.fraud/1" [label="model version\\nfraud/1", tooltip="model_version.fraud/1"];\n'
        '  "registered_model.fraud" [label="registered model\\nfraud", tooltip="registered_model.fraud"];\n'
        '  "model_alias.fraud/champion" -> "model_version.fraud/1";\n'
        '  "model_version.fraud/1" -> "registered_model.fraud";\n}\n'
    )
    assert [path.name for path in sorted(stack.iterdir())] == ["lac.yaml", "models.yaml"]


def test_a_picture_is_written_whole_or_not_at_all(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = stack / "graph.svg"
    asked = ["-C", str(stack), "graph", "--format", "svg", "-o", str(out)]
    assert run([*asked, "model_alias.*"]) == 0
    assert capsys.readouterr().err == f"Wrote 3 objects to {out}.\n"
    drawn = out.read_text()
    assert len(boxes(drawn)) == 3
    assert run([*asked, "no.*"]) == 1
    assert "no-such-address" in capsys.readouterr().err
    assert out.read_text() == drawn
    assert run(["-C", str(stack), "graph", "-o", str(stack / "none" / "graph.dot")]) == 1
    assert "cannot-write" in capsys.readouterr().err


def test_a_plan_is_drawn_as_of_now_or_as_it_was_saved(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh_sqlite(stack, name="mlflow.db")
    lac = ["-C", str(stack)]
    assert run([*lac, "plan", "-o", str(stack / "it.plan")]) == 0
    capsys.readouterr()
    assert run([*lac, "graph", "--format", "mermaid", "--plan"]) == 0
    now = capsys.readouterr().out
    assert 'n1["model alias<br>+ fraud/champion"]:::create' in now
    (stack / "models.yaml").write_text("registered_models: []\n")
    assert run([*lac, "graph", "--format", "mermaid", f"--plan={stack / 'it.plan'}"]) == 0
    assert capsys.readouterr().out == now
    assert run([*lac, "graph", "--plan=models.yaml", "-C", str(stack)]) == 1
    assert capsys.readouterr().err.startswith("error[")
