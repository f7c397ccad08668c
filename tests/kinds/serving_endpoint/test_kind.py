"""Endpoints without a cluster: what may be written, how it resolves, and how it is rolled out on paper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from support.fake_cluster import Killed, Paper

from lifecycle_as_code.kinds.base import Site
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.serving_endpoint import (
    Route,
    ServedEntity,
    ServingEndpoint,
    ServingEndpoints,
    TrafficConfig,
)
from lifecycle_as_code.kinds.serving_endpoint.apps import as_apps
from lifecycle_as_code.kinds.serving_endpoint.capacity import RESOURCES
from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.diff import diff, list_leaves
from lifecycle_as_code.model.plan import Action, Change
from lifecycle_as_code.model.snapshot import Live, Observed, Recorded
from lifecycle_as_code.model.spec import Address, Spec, construct, plain
from lifecycle_as_code.planning.guards import PlanContext
from lifecycle_as_code.stores.ray.apps import primary_args
from lifecycle_as_code.stores.ray.state import Resources

KIND = ServingEndpoints()
SITE = Site("tests", "sqlite:////auth.db", {"env_vars": {"A": "1"}})


def entity(name: str = "champion", version: int | str = 3, **options: Any) -> ServedEntity:
    return ServedEntity(name=name, entity_name="fraud", entity_version=version, **options)


def endpoint(*shares: tuple[ServedEntity, int], **options: Any) -> ServingEndpoint:
    routes = [Route(served_entity_name=e.name, traffic_percentage=share) for e, share in shares]
    entities = tuple(e for e, _ in shares)
    return ServingEndpoint(
        name="fraud", served_entities=entities, traffic_config=TrafficConfig(routes=tuple(routes)), **options
    )


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a dot in the name": ({"name": "a.b"}, "letters, digits"),
    "a name too long": ({"name": "a" * 64}, "at most 63"),
    "nothing served": ({"served_entities": ()}, "at least 1 item"),
    "one name twice": ({"served_entities": (entity(), entity())}, "listed twice"),
    "two without routes": ({"served_entities": (entity("a"), entity("b"))}, "need `traffic_config`"),
    "a route to nowhere": ({"routes": {"champion": 50, "x": 50}}, "not a served entity"),
    "a sum": ({"routes": {"champion": 90}}, "add up to 90"),
    "an entity without a route": (
        {"served_entities": (entity("a"), entity("b")), "routes": {"a": 100}},
        "`b` has no route",
    ),
    "not a percentage": ({"routes": {"champion": 101}}, "less than or equal to 100"),
}


@pytest.mark.parametrize(("fields", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_served_is_refused(fields: dict[str, Any], said: str) -> None:
    values = {"name": "fraud", "served_entities": (entity(),), **fields}
    if routes := values.pop("routes", None):
        rows = [{"served_entity_name": n, "traffic_percentage": p} for n, p in routes.items()]
        values["traffic_config"] = {"routes": tuple(rows)}
    with pytest.raises(ValidationError, match=said):
        ServingEndpoint.model_validate(values)


WRONG_ENTITIES: dict[str, tuple[dict[str, Any], str]] = {
    "neither number nor alias": ({"version": "3"}, "`@` and an alias"),
    "MLflow's own alias": ({"version": "@latest"}, "highest version"),
    "version zero": ({"version": 0}, "greater than or equal to 1"),
    "fewer at most than at least": ({"min_replicas": 2, "max_replicas": 1}, "less than `min_replicas`"),
    "half a secret": (
        {"environment_vars": {"K": "x{{ env.SECRET }}"}},
        "a reference must be the whole value",
    ),
    "a GPU and a half": ({"num_gpus": 1.5}, "a part of one GPU, or whole GPUs"),
    "less than Ray counts": ({"num_cpus": 0.00001}, "steps of 0.0001"),
    "a variable's name": ({"environment_vars": {"A B": "x"}}, "can't be the name"),
}


@pytest.mark.parametrize(("options", "said"), WRONG_ENTITIES.values(), ids=WRONG_ENTITIES)
def test_an_entity_that_cannot_be_served_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        entity(**options)


def expected(*specs: Spec) -> dict[Address, Observed]:
    return {spec.address: Observed(spec) for spec in specs}


WORLD = expected(
    ModelVersion(model="fraud", version=3, source="s3://b/3", storage_location="s3://b/3/artifacts"),
    ModelVersion(model="fraud", version=4, source="s3://b/4"),
    ModelAlias(model="fraud", alias="champion", version=3),
)


def settled(
    spec: ServingEndpoint, world: Mapping[Address, Observed] = WORLD, site: Site = SITE
) -> ServingEndpoint:
    ((_, found),) = KIND.settle(site, {spec.address: spec}, world)
    assert isinstance(found, ServingEndpoint), found
    return found


def refused(
    spec: ServingEndpoint, world: Mapping[Address, Observed] = WORLD, site: Site = SITE
) -> Diagnostic:
    ((_, found),) = KIND.settle(site, {spec.address: spec}, world)
    assert isinstance(found, Diagnostic), found
    return found


def test_an_alias_is_pinned_and_remembered() -> None:
    written = endpoint((entity(version="@champion"), 100))
    (pinned,) = settled(written).served_entities
    assert (pinned.entity_version, pinned.follows, pinned.location) == (3, "@champion", "s3://b/3/artifacts")
    assert list(written.refs()) == [Address("model_alias", ("fraud", "champion"))]
    assert list(settled(written).refs()) == [
        Address("model_version", ("fraud", 3)),
        Address("model_alias", ("fraud", "champion")),
    ]
    assert list(settled(endpoint((entity(version=4), 100))).follows()) == []


def test_resolving_again_changes_nothing_and_the_written_form_comes_back() -> None:
    written = endpoint(
        (entity(version="@champion", min_replicas=2), 90),
        (entity("challenger", 4, environment_vars={"K": "{{ env.K }}"}), 10),
        tags={"team": "risk"},
    )
    once = settled(written)
    assert settled(once) == once
    assert construct(ServingEndpoint, json.loads(json.dumps(plain(once)))) == once
    assert once.written() == {
        "name": "fraud",
        "tags": {"team": "risk"},
        "served_entities": [
            {"name": "champion", "entity_name": "fraud", "entity_version": "@champion", "min_replicas": 2},
            {
                "name": "challenger",
                "entity_name": "fraud",
                "entity_version": 4,
                "environment_vars": {"K": "{{ env.K }}"},
            },
        ],
        "traffic_config": {
            "routes": [
                {"served_entity_name": "champion", "traffic_percentage": 90},
                {"served_entity_name": "challenger", "traffic_percentage": 10},
            ]
        },
    }
    assert "traffic_config" not in settled(endpoint((entity(), 100))).written()


def test_a_reference_in_the_runtime_environment_becomes_the_entitys_which_looks_it_up() -> None:
    site = replace(SITE, runtime_env={"env_vars": {"A": "1", "K": "{{ env.K }}"}, "pip": ["x"]})
    found = settled(endpoint((entity(), 100)), site=site)
    assert found.runtime_env == {"env_vars": {"A": "1"}, "pip": ["x"]}
    assert found.served_entities[0].environment_vars == {"K": "{{ env.K }}"}
    own = settled(endpoint((entity(environment_vars={"K": "mine"}), 100)), site=site)
    assert own.served_entities[0].environment_vars == {"K": "mine"}


@pytest.mark.parametrize(
    ("spec", "world", "site", "code", "hint"),
    [
        (endpoint((entity(version="@champio"), 100)), WORLD, SITE, "unknown-alias", "`champion`"),
        (endpoint((entity(version="@champion"), 100)), {}, SITE, "unknown-alias", "declare it"),
        (endpoint((entity(), 100)), WORLD, Site("tests"), "no-auth-store", "auth_store"),
        (
            endpoint((entity(), 100), auth="none"),
            {
                Address("serving_endpoint", ("fraud",)): Observed(
                    endpoint((entity(), 100)), {"owner": "theirs"}
                )
            },
            SITE,
            "owned-elsewhere",
            "another name",
        ),
    ],
)
def test_what_cannot_be_resolved_says_the_way_out(
    spec: ServingEndpoint, world: Mapping[Address, Observed], site: Site, code: str, hint: str
) -> None:
    problem = refused(spec, world, site)
    assert problem.code == code
    assert hint in problem.hint


def test_a_difference_is_told_by_the_entitys_name_and_a_creation_without_defaults() -> None:
    before = settled(endpoint((entity("a"), 90), (entity("b", 4), 10)))
    after = settled(endpoint((entity("b", 4), 50), (entity("a", 4), 50)))
    assert [(c.name, c.before, c.after) for c in diff(before, after)] == [
        ("served_entities.a.entity_version", 3, 4),
        ("served_entities.a.location", "s3://b/3/artifacts", "s3://b/4"),
        ("traffic_config.routes.a.traffic_percentage", 90, 50),
        ("traffic_config.routes.b.traffic_percentage", 10, 50),
    ]
    told = {c.name for c in list_leaves(settled(endpoint((entity(version="@champion"), 100))))}
    assert told == {
        "served_entities.champion.entity_name",
        "served_entities.champion.entity_version",
        "served_entities.champion.follows",
        "served_entities.champion.location",
        "served_entities.champion.max_replicas",
        "traffic_config.routes.champion.traffic_percentage",
    }


# --- checks


def warned(
    after: ServingEndpoint,
    *grants: Spec,
    before: ServingEndpoint | None = None,
    free: Resources | None = None,
    changes: Iterable[Change] = (),
    on_all: Mapping[Address, str] | None = None,
) -> list[Diagnostic]:
    address = after.address
    action = Action.UPDATE if before else Action.CREATE
    change = Change(address, after.store, action, "declared", before, after)
    objects = {g.address: Observed(g) for g in grants}
    if before:
        objects[address] = Observed(before, {"owner": "tests"})
    live = Live(objects, facts={"grants_on_all": on_all or {}, **({RESOURCES: free} if free else {})})
    all_changes = {c.address: c for c in (change, *changes)}
    found = list(KIND.check(PlanContext({address: after}, Recorded(), live, all_changes, {})))
    assert {d.severity for d in found} <= {"warning"}
    return found


def grant(level: str, resource: str = "fraud", about: str = "serving_endpoint") -> Permission:
    return Permission.model_construct(role="r", resource_type=about, resource=resource, level=level)


DOORS: dict[str, tuple[str, list[Spec], list[str]]] = {
    "everybody": ("none", [], ["open-endpoint"]),
    "nobody": ("basic", [], ["nobody-may-use"]),
    "a caller": ("basic", [grant("USE")], []),
    "a caller of all": ("basic", [grant("EDIT", "*")], []),
    "an administrator of the workspace": ("basic", [grant("MANAGE", "*", "workspace")], []),
    "a reader": ("basic", [grant("READ")], ["nobody-may-use"]),
    "a caller of another": ("basic", [grant("USE", "other")], ["nobody-may-use"]),
    "one who is kept out": ("basic", [grant("DENY")], ["nobody-may-use"]),
}


@pytest.mark.parametrize(("auth", "grants", "codes"), DOORS.values(), ids=DOORS)
def test_a_plan_says_who_gets_in(auth: str, grants: list[Spec], codes: list[str]) -> None:
    assert [d.code for d in warned(settled(endpoint((entity(), 100), auth=auth)), *grants)] == codes


def test_who_gets_in_is_asked_of_the_grants_as_they_will_be() -> None:
    spec = settled(endpoint((entity(), 100)))
    caller, reader = grant("USE"), grant("READ")

    def becomes(after: Spec | None, action: Action) -> Change:
        return Change(caller.address, caller.store, action, "", caller, after)

    codes = ["nobody-may-use"]
    assert [d.code for d in warned(spec, caller, changes=[becomes(reader, Action.UPDATE)])] == codes
    assert [d.code for d in warned(spec, caller, changes=[becomes(None, Action.DELETE)])] == codes
    assert not warned(spec, caller, changes=[becomes(None, Action.FORGET)])
    made = Change(caller.address, caller.store, Action.CREATE, "", None, caller)
    assert not warned(spec, changes=[made])
    # a grant of a role that nothing here names
    assert not warned(spec, on_all={Address("permission", ("ops", "serving_endpoint", "*")): "USE"})


ROOM: dict[str, tuple[dict[str, Any] | None, dict[str, Any], float, str]] = {
    "new, and enough": (None, {}, 1, ""),
    "new, and too little": (None, {"min_replicas": 2}, 1, "needs 2 CPUs"),
    "both versions at once": ({"version": 4}, {"min_replicas": 2}, 1, "needs 2 CPUs"),
    "one replica more": ({}, {"min_replicas": 2}, 1, ""),
    "a few more": ({}, {"min_replicas": 4}, 1, "needs 3 CPUs"),
    "fewer": ({"min_replicas": 4}, {}, 0, ""),
    "GPUs": (None, {"num_gpus": 1, "num_cpus": 0}, 0, "needs 1 GPUs"),
}


@pytest.mark.parametrize(("before", "after", "free", "said"), ROOM.values(), ids=ROOM)
def test_a_plan_says_where_room_is_lacking(
    before: dict[str, Any] | None, after: dict[str, Any], free: float, said: str
) -> None:
    def made(options: dict[str, Any]) -> ServingEndpoint:
        return settled(endpoint((entity(**options), 100)))

    found = warned(
        made(after),
        grant("USE"),
        before=None if before is None else made(before),
        free=Resources(8, 0, free, 0),
    )
    assert [d.code for d in found] == (["ray-capacity"] if said else [])
    assert all(said in d.detail for d in found)


SPREAD: dict[str, tuple[dict[str, Any], tuple[tuple[float, float], ...], bool]] = {
    "all on one node": ({"num_gpus": 2}, ((2, 0), (2, 2)), False),
    "one replica over two nodes": ({"num_gpus": 2}, ((2, 1), (2, 1)), True),
    "GPUs here and CPUs there": ({"num_gpus": 2}, ((0, 2), (4, 0)), True),
    "replicas over two nodes": ({"num_gpus": 1, "min_replicas": 2}, ((2, 1), (2, 1)), False),
    "parts of two GPUs": ({"num_gpus": 0.75, "min_replicas": 2}, ((2, 1), (2, 1)), False),
    "parts that are left of two": ({"num_gpus": 0.6, "min_replicas": 3}, ((4, 1), (4, 1)), True),
    "the small ones leave room for the large": (
        {"num_cpus": 0.1, "min_replicas": 3},
        ((0.1, 0.0), (0.2, 0.0)),
        False,
    ),
}


@pytest.mark.parametrize(("options", "nodes", "said"), SPREAD.values(), ids=SPREAD)
def test_a_replica_needs_its_room_on_one_node(
    options: dict[str, Any], nodes: tuple[tuple[float, float], ...], said: bool
) -> None:
    cpus, gpus = (sum(node[unit] for node in nodes) for unit in (0, 1))
    found = warned(
        settled(endpoint((entity(**options), 100))), grant("USE"), free=Resources(8, 8, cpus, gpus, nodes)
    )
    assert [d.code for d in found] == (["ray-capacity"] if said else [])
    assert all("a node with room for each replica" in d.detail for d in found)


def test_room_is_read_of_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {
        "a": "0.7/1.0 CPU\n0.0/2.0 GPU\n0.00B/1.0GiB memory",
        "b": "0.0/4.0 CPU",
        "c": "0.00B/1.0GiB memory",
    }
    cluster = Paper()
    monkeypatch.setattr(cluster, "_get", lambda _: {"data": {"nodeLogicalResources": nodes}})
    found = cluster.resources()
    assert (found.cpus, found.gpus, found.free_gpus) == (5, 2, 2)
    assert found.free_cpus == pytest.approx(4.3)
    assert [pytest.approx(node) for node in ((0.3, 2), (4, 0), (0, 0))] == list(found.nodes)


def test_parts_are_counted_as_ray_counts_them() -> None:
    """0.1 + 0.2 is more than 0.3 in floats, and 1 - 0.9 less than 0.1."""
    spec = settled(endpoint((entity(num_cpus=0.1, min_replicas=3), 100)))
    assert not warned(spec, grant("USE"), free=Resources(1, 0, 0.3, 0))
    spec = settled(endpoint((entity(num_cpus=0.1), 100)))
    assert not warned(spec, grant("USE"), free=Resources(1, 0, 1 - 0.9, 0))


def test_only_endpoints_that_lack_something_are_named() -> None:
    small = settled(endpoint((entity(), 100)))
    large = settled(endpoint((entity(num_gpus=1), 100)).model_copy(update={"name": "large"}))
    more = Change(large.address, large.store, Action.CREATE, "", None, large)
    (found,) = warned(small, grant("USE", "*"), changes=[more], free=Resources(8, 0, 8, 0))
    assert found.detail.startswith("serving_endpoint.large needs 1 GPUs")

    # and the other way round
    large = large.model_copy(update={"served_entities": (entity(num_cpus=9),)})
    small = small.model_copy(update={"served_entities": (entity(num_cpus=0, num_gpus=1),)})
    more = Change(large.address, large.store, Action.CREATE, "", None, large)
    (found,) = warned(small, grant("USE", "*"), changes=[more], free=Resources(8, 1, 8, 1))
    assert found.detail.startswith("serving_endpoint.large needs 9 CPUs")


def test_the_large_choose_their_nodes_before_the_small_and_the_fullest_that_has_room() -> None:
    two = (entity("a", num_cpus=2, min_replicas=2), 50), (entity("b", num_cpus=3), 50)
    assert not warned(settled(endpoint(*two)), grant("USE"), free=Resources(7, 0, 7, 0, ((4, 0), (3, 0))))


def test_what_an_interrupted_apply_brought_up_takes_nothing_more() -> None:
    before, after = settled(endpoint((entity(version=3), 100))), settled(endpoint((entity(version=4), 100)))
    here = before.model_copy(update={"leftovers": tuple(as_apps("tests", after).apps)})
    free = Resources(8, 0, 0, 0)
    assert [d.code for d in warned(after, grant("USE"), before=before, free=free)] == ["ray-capacity"]
    assert not warned(after, grant("USE"), before=here, free=free)


def test_many_replicas_are_counted_at_once() -> None:
    spec = settled(endpoint((entity(min_replicas=10**12, num_cpus=0), 100)))
    assert not warned(spec, grant("USE"), free=Resources(8, 0, 8, 0, ((8, 0),)))


# --- rollouts, with Ray's part played by a dictionary


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    return Paper.at_once(monkeypatch)


PLACES = expected(
    ModelVersion(model="fraud", version=1, source="/good/1"),
    ModelVersion(model="fraud", version=2, source="/good/2"),
    ModelVersion(model="fraud", version=3, source="/bad/3"),
)


def live(paper: Paper, name: str = "fraud") -> Observed | None:
    return KIND.observe(paper).objects.get(Address("serving_endpoint", (name,)))


def wanted(version: int, name: str = "fraud", paper: Paper | None = None, **options: Any) -> ServingEndpoint:
    spec = endpoint((entity(version=version), 100), auth="none", **options).model_copy(update={"name": name})
    here = live(paper, name) if paper else None
    return settled(spec, {**PLACES, **({spec.address: here} if here else {})})


def change(paper: Paper, after: ServingEndpoint | None, name: str = "fraud") -> Change:
    found = live(paper, name)
    before = found.spec if found else None
    action = Action.UPDATE if before and after else Action.CREATE if after else Action.DELETE
    return Change(Address("serving_endpoint", (name,)), KIND.spec.store, action, "", before, after)


def silent(line: str) -> None:
    pass


def roll_out(paper: Paper, *changes: Change) -> dict[str, str]:
    """As an apply does it; what failed, by endpoint."""
    problems: dict[str, str] = {}
    coming = [c for c in changes if c.after]
    for phase in (KIND.warm_up, KIND.cut_over, KIND.retire):
        going = [c for c in (changes if phase == KIND.retire else coming) if c.address.name not in problems]
        found = {r.address.name: r.problem.detail for r in phase(paper, SITE, going, silent) if r.problem}
        problems |= found
        if phase == KIND.cut_over:
            KIND.undo(paper, SITE, [c for c in going if c.address.name in found], silent)
    return problems


def test_what_was_rolled_out_reads_back_as_it_was_meant(paper: Paper) -> None:
    spec = settled(
        endpoint(
            (entity(version=1, min_replicas=1, max_replicas=3, environment_vars={"K": "{{ env.K }}"}), 70),
            (entity("other", 2, num_cpus=0.5, timeout=3.0), 30),
            description="d",
            tags={"a": "b"},
        ),
        PLACES,
    )
    assert roll_out(paper, change(paper, spec)) == {}
    found = live(paper)
    assert found
    assert diff(found.spec, spec) == ()
    assert found.facts["owner"] == "tests"
    # the ingress holds the one with the most traffic
    assert sorted(paper.apps) == ["lac.fraud", *(n for n in as_apps("tests", spec).apps if ".other." in n)]
    assert set(KIND.names(SITE, change(paper, spec))) == {"lac.fraud", *as_apps("tests", spec).apps}
    fewer = spec.model_copy(update={"tags": {}})
    roll_out(paper, change(paper, fewer))
    assert diff(live(paper).spec, fewer) == ()  # type: ignore[union-attr]  # None fails the test as well
    assert roll_out(paper, change(paper, None)) == {}
    assert paper.apps == {}


def test_one_that_fails_is_as_it_was_and_the_others_go_on(paper: Paper) -> None:
    roll_out(paper, change(paper, wanted(1)), change(paper, wanted(1, "well"), "well"))
    before = dict(paper.apps)
    problems = roll_out(
        paper,
        change(paper, wanted(3)),
        change(paper, wanted(2, "well"), "well"),
        change(paper, wanted(3, "new"), "new"),
    )
    assert problems == {
        "fraud": "fraud: champion v3: No such artifact: 'bad'",
        "new": "new: champion v3: No such artifact: 'bad'",
    }
    assert {n: c for n, c in paper.apps.items() if ".well" not in n} == {
        n: c for n, c in before.items() if ".well" not in n
    }
    assert diff(live(paper, "well").spec, wanted(2, "well")) == ()  # type: ignore[union-attr]  # None fails the test as well


def test_a_switch_that_is_not_heard_of_is_taken_back(paper: Paper) -> None:
    roll_out(paper, change(paper, wanted(1)))
    before = dict(paper.apps)
    paper.deaf.add("fraud")
    assert roll_out(paper, change(paper, wanted(2))) == {"fraud": "after 60 s, no answer"}
    assert paper.apps == before


def test_what_changes_in_place_keeps_its_app_and_shrinks_last(paper: Paper) -> None:
    def with_replicas(number: int) -> ServingEndpoint:
        shares = (entity(version=1), 90), (entity("other", 2, min_replicas=number), 10)
        return settled(endpoint(*shares, auth="none"), PLACES)

    roll_out(paper, change(paper, with_replicas(1)))
    names = set(paper.apps)
    (app,) = names - {"lac.fraud"}
    roll_out(paper, change(paper, with_replicas(3)))
    shrinking = change(paper, with_replicas(2))
    KIND.warm_up(paper, SITE, [shrinking], silent)
    assert paper.apps[app]["deployments"][0]["num_replicas"] == 3
    KIND.undo(paper, SITE, [shrinking], silent)
    assert paper.apps[app]["deployments"][0]["num_replicas"] == 3
    assert roll_out(paper, shrinking) == {}
    assert paper.apps[app]["deployments"][0]["num_replicas"] == 2
    assert set(paper.apps) == names


def test_a_candidate_is_tried_in_an_app_of_its_own_before_the_ingress_holds_it(paper: Paper) -> None:
    roll_out(paper, change(paper, wanted(1)))
    moved = change(paper, wanted(2))
    KIND.warm_up(paper, SITE, [moved], silent)
    (trial,) = set(paper.apps) - {"lac.fraud"}
    assert paper.apps[trial]["deployments"][0]["num_replicas"] == 1
    assert primary_args(paper.apps["lac.fraud"])["entity_version"] == 1
    KIND.cut_over(paper, SITE, [moved], silent)
    assert primary_args(paper.apps["lac.fraud"])["entity_version"] == 2
    assert set(paper.apps) == {"lac.fraud"}


def test_entities_that_change_places_each_get_the_others(paper: Paper) -> None:
    def shares(one: int) -> ServingEndpoint:
        two = (entity("one", 1), one), (entity("two", 2), 100 - one)
        return settled(endpoint(*two, auth="none"), PLACES)

    def apart() -> set[str]:
        return {name.split(".")[2] for name in paper.apps if name != "lac.fraud"}

    roll_out(paper, change(paper, shares(90)))
    assert (primary_args(paper.apps["lac.fraud"])["name"], apart()) == ("one", {"two"})
    moved = change(paper, shares(10))
    KIND.warm_up(paper, SITE, [moved], silent)
    assert apart() == {"one", "two"}
    KIND.undo(paper, SITE, [moved], silent)
    assert apart() == {"two"}
    assert roll_out(paper, moved) == {}
    assert (primary_args(paper.apps["lac.fraud"])["name"], apart()) == ("two", {"one"})
    assert diff(live(paper).spec, shares(10)) == ()  # type: ignore[union-attr]  # None fails the test as well


@pytest.mark.parametrize("begins", [None, 1], ids=["created", "updated"])
@pytest.mark.parametrize("ends", ["the same", "another version", "nothing"])
@pytest.mark.parametrize("steps", range(7))
def test_a_crash_after_any_step_is_found_and_mended(
    paper: Paper, begins: int | None, ends: str, steps: int
) -> None:
    if begins:
        roll_out(paper, change(paper, wanted(begins)))
    paper.left = steps
    with suppress(Killed):
        roll_out(paper, change(paper, wanted(2)))
    paper.left = None
    if ends == "nothing":
        roll_out(paper, change(paper, None))
        assert paper.apps == {}
        return
    after = wanted(2 if ends == "the same" else 1)
    assert roll_out(paper, change(paper, after)) == {}
    assert diff(live(paper).spec, after) == ()  # type: ignore[union-attr]  # None fails the test as well
    assert set(paper.apps) == {"lac.fraud"}


def test_a_leftover_that_is_broken_is_tried_afresh(paper: Paper) -> None:
    """Ray would not try it again: to repair the artifact and apply once more must be enough."""
    roll_out(paper, change(paper, wanted(1)))
    paper.left = 1
    with pytest.raises(Killed):
        roll_out(paper, change(paper, wanted(3)))
    paper.left = None
    found = live(paper)
    assert found
    assert len(found.spec.leftovers) == 1  # type: ignore[attr-defined]  # it is an endpoint
    puts: list[set[str]] = []
    put = paper._put
    paper._put = lambda body: (puts.append({a["name"] for a in body["applications"]}), put(body))[1]  # type: ignore[method-assign]  # to see what is put
    roll_out(paper, change(paper, wanted(3)))
    assert found.spec.leftovers[0] not in puts[0]  # type: ignore[attr-defined]  # it is an endpoint
    assert found.spec.leftovers[0] in puts[1]  # type: ignore[attr-defined]  # it is an endpoint


def test_an_entity_that_broke_is_tried_beside_itself(paper: Paper) -> None:
    roll_out(paper, change(paper, wanted(1)))
    paper.broken.add("lac.fraud")
    after = wanted(1, paper=paper)
    fields = change(paper, after)
    assert fields.before
    assert [(f.name, f.before, f.after) for f in diff(fields.before, after)] == [
        ("served_entities.champion.redeployed", 0, 1),
        ("served_entities.champion.state", "DEPLOY_FAILED", None),
        ("state", "DEPLOY_FAILED", None),
    ]
    former = paper.apps["lac.fraud"]
    KIND.warm_up(paper, SITE, [fields], silent)
    # replicas of before the failure may still answer
    assert paper.apps["lac.fraud"] == former
    assert len(paper.apps) == 2
    paper.broken.clear()
    assert roll_out(paper, fields) == {}
    assert set(paper.apps) == {"lac.fraud"}
    # well again, it stays where it is
    assert wanted(1, paper=paper) == after
    assert diff(live(paper).spec, after) == ()  # type: ignore[union-attr]  # None fails the test as well


def test_lost_replicas_are_rays_to_replace(paper: Paper) -> None:
    roll_out(paper, change(paper, wanted(1)))
    paper.sick.add("lac.fraud")
    found = live(paper)
    assert found
    assert diff(found.spec, wanted(1, paper=paper)) == ()
    assert found.facts["health"] == "lac.fraud lost replicas: a node was lost"


def test_another_stacks_endpoint_stays_theirs(paper: Paper) -> None:
    spec = wanted(1)
    moved = change(paper, spec)
    theirs = replace(SITE, stack="theirs")
    for phase in (KIND.warm_up, KIND.cut_over, KIND.retire):
        phase(paper, theirs, [moved], silent)
    before = dict(paper.apps)
    (rollout,) = KIND.warm_up(paper, SITE, [replace(moved, after=wanted(2))], silent)
    assert rollout.problem
    assert rollout.problem.code == "ray-not-ours"
    KIND.retire(paper, SITE, [change(paper, None)], silent)
    assert paper.apps == before


def test_a_record_and_an_endpoint_of_an_earlier_lac_are_as_they_were(paper: Paper) -> None:
    """It wrote the default of `max_ongoing_requests` as its number, and knew no other models than its own."""
    spec = settled(
        endpoint((entity(version=1), 90), (entity("other", 2, max_ongoing_requests=8), 10)), PLACES
    )
    former = json.loads(json.dumps(plain(spec)))
    new = {"external_model", "task", "source", "workload_size", "scale_to_zero_enabled", "secrets"}
    new |= {"first_token_timeout", "max_retries"}
    former["served_entities"] = [
        {name: value for name, value in item.items() if name not in new} for item in former["served_entities"]
    ]
    former["served_entities"][0]["max_ongoing_requests"] = 64
    for name in ("ai_gateway", "usage_store", "rate_limit_store", "fallback_order"):
        del former[name]
    recorded = construct(ServingEndpoint, former)
    assert diff(recorded, spec) == ()
    assert recorded.written() == spec.written()
    roll_out(paper, change(paper, spec))
    notes = paper.apps["lac.fraud"]["deployments"][0]["user_config"]["spec"]
    notes["served_entities"] = former["served_entities"]
    found = live(paper)
    assert found
    assert diff(recorded, found.spec) == ()
    assert diff(found.spec, settled(spec, {**PLACES, found.spec.address: found})) == ()
