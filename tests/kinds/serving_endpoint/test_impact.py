"""What a change touches beside itself: who serves what afterwards, and what that takes of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from support.bench import Bench, converge
from support.fake_cluster import Paper, on_paper

from lifecycle_as_code.kinds.base import Site
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint import (
    Route,
    ServedEntity,
    ServingEndpoint,
    ServingEndpoints,
    TrafficConfig,
)
from lifecycle_as_code.kinds.serving_endpoint.apps import MISSING
from lifecycle_as_code.kinds.serving_endpoint.capacity import RESOURCES
from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.plan import Plan
from lifecycle_as_code.model.review import Capacity, Impact, Traffic
from lifecycle_as_code.model.snapshot import Desired, Live, Observed, Record, Recorded
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.planner import PlanOptions, make_plan
from lifecycle_as_code.planning.renames import rename_snapshots
from lifecycle_as_code.stores.ray.state import Resources

SITE = Site("payments@0a1b2c3d", "sqlite:////auth.db")
FRAUD = Address("serving_endpoint", ("fraud",))
CHAMPION = Address("model_alias", ("fraud", "champion"))
MODEL = Address("registered_model", ("fraud",))


def entity(name: str, version: int | str, model: str = "fraud", **options: Any) -> ServedEntity:
    return ServedEntity(name=name, entity_name=model, entity_version=version, **options)


def endpoint(*shares: tuple[ServedEntity, int], name: str = "fraud", **options: Any) -> ServingEndpoint:
    routes = [Route(served_entity_name=e.name, traffic_percentage=share) for e, share in shares]
    entities = tuple(e for e, _ in shares)
    traffic = TrafficConfig(routes=tuple(routes))
    return ServingEndpoint(name=name, served_entities=entities, traffic_config=traffic, **options)


def registry(
    champion: int | None = 3, versions: Iterable[int] = (1, 3, 4), model: str = "fraud"
) -> list[Spec]:
    found: list[Spec] = [RegisteredModel(name=model)]
    found += [ModelVersion(model=model, version=n, source=f"/files/{n}") for n in versions]
    if champion is not None:
        found.append(ModelAlias(model=model, alias="champion", version=champion))
    return found


def resolved(specs: Iterable[Spec]) -> dict[Address, Spec]:
    """As a refresh resolves them: aliases pinned."""
    objects = {spec.address: spec for spec in specs}
    mine = {a: s for a, s in objects.items() if isinstance(s, ServingEndpoint)}
    for address, found in ServingEndpoints().settle(SITE, mine, {a: Observed(s) for a, s in objects.items()}):
        assert not isinstance(found, Diagnostic), found
        objects[address] = found
    return objects


def elsewhere(stack: str, *specs: Spec) -> Recorded:
    """Other stacks' records."""
    challenger = ModelAlias(model="fraud", alias="challenger", version=1)
    there = resolved([*registry(), challenger, *specs])
    served = {spec.address: there[spec.address] for spec in specs}
    return Recorded(others=dict.fromkeys(served, stack), elsewhere=served)


def impacts(
    before: Iterable[Spec],
    after: Iterable[Spec],
    *,
    others: Recorded = Recorded(),
    cluster: Mapping[Address, Observed] | None = None,
    free: Resources | None = None,
    renamed: tuple[Address, Address] | None = None,
) -> dict[Address, Impact]:
    """By change, of the plan from `before`, which is live and ours, to `after`."""
    here = resolved(before)
    live = Live(
        {**{a: Observed(s, {"owner": SITE.owner}) for a, s in here.items()}, **(cluster or {})},
        facts={RESOURCES: free} if free else {},
    )
    recorded = replace(others, ours={a: Record(a, s.store, s) for a, s in here.items()})
    there = rename_snapshots([renamed] if renamed else [], recorded, live)
    allow = frozenset({"version-in-use", "model-in-use", "mass-deletion", "nothing-declared"})
    plan = make_plan(
        Desired(resolved(after)),
        there.recorded,
        there.live,
        stack="payments",
        options=PlanOptions(allow=allow),
        origins=there.origins,
    )
    found = [*ServingEndpoints().impacts(plan, there.recorded, there.live)]
    changed = [change.address for change in plan.differences]
    assert [i.address for i in found] == [a for a in changed if a in {i.address for i in found}]
    return {impact.address: impact for impact in found}


CANARY = endpoint((entity("champion", "@champion"), 90), (entity("fixed", 3), 10))


def test_a_moved_alias_reaches_those_who_follow_it_with_their_share() -> None:
    found = impacts([*registry(3), CANARY], [*registry(4), CANARY])
    moved = Traffic(FRAUD, "champion", "", 90, "@champion", 3, 4, moves=True)
    # what is pinned to the number stays, and isn't the alias's affair
    assert found[CHAMPION].traffic == (moved,)
    assert found[FRAUD].traffic == (moved, Traffic(FRAUD, "fixed", "", 10, "", 3, 3))


def test_an_endpoint_of_another_stack_is_named_and_stays() -> None:
    others = elsewhere(
        "risk",
        endpoint((entity("main", "@champion"), 100), name="risk"),
        endpoint((entity("first", 1), 60), (entity("last", 4), 40), name="pinned"),
        endpoint((entity("another", "@challenger"), 100), name="not-following"),
        endpoint((entity("another", 1, "spam"), 100), name="spam"),
    )
    found = impacts(registry(3), registry(4), others=others)
    pinned, risk = Address("serving_endpoint", ("pinned",)), Address("serving_endpoint", ("risk",))
    assert found[CHAMPION].traffic == (
        Traffic(pinned, "first", "risk", 60, "", 1, 1),
        Traffic(pinned, "last", "risk", 40, "", 4, 4),
        Traffic(risk, "main", "risk", 100, "@champion", 3, 4),
    )


def on_cluster(spec: ServingEndpoint, owner: str, **places: str) -> dict[Address, Observed]:
    """What somebody else has on the cluster; `places`: where its entities load from."""
    there = resolved([*registry(), spec])[spec.address]
    assert isinstance(there, ServingEndpoint)
    entities = [
        e.model_copy(update={"location": places.get(e.name, e.location)}) for e in there.served_entities
    ]
    there = there.model_copy(update={"served_entities": tuple(entities)})
    return {there.address: Observed(there, {"owner": owner})}


RISK = endpoint((entity("main", "@champion"), 100), name="risk")
UNRECORDED: dict[str, tuple[str, dict[str, str], bool]] = {
    "from our store": ("risk@0a1b2c3d", {}, True),
    "by an earlier lac": ("risk", {}, True),
    "a model of the same name in another store": ("risk@ffffffff", {"main": "/another/store/3"}, False),
    "one that loads nothing": ("risk@0a1b2c3d", {"main": ""}, False),
}


@pytest.mark.parametrize(("owner", "places", "known"), UNRECORDED.values(), ids=UNRECORDED)
def test_what_nobody_recorded_is_known_by_the_place_it_loads_from(
    owner: str, places: dict[str, str], known: bool
) -> None:
    found = impacts(registry(3), registry(4), cluster=on_cluster(RISK, owner, **places))
    rows = [Traffic(RISK.address, "main", "risk", 100, "@champion", 3, 4)]
    assert list(found[CHAMPION].traffic if known else found.values()) == (rows if known else [])


def test_the_cluster_knows_better_than_a_record() -> None:
    recorded = elsewhere("risk", endpoint((entity("main", 1), 100), name="risk"))
    found = impacts(registry(3), registry(4), others=recorded, cluster=on_cluster(RISK, "risk@0a1b2c3d"))
    assert [row.version_before for row in found[CHAMPION].traffic] == [3]
    # somebody else's endpoint of the same name is not the recorded one
    found = impacts(registry(3), registry(4), others=recorded, cluster=on_cluster(RISK, "third@0a1b2c3d"))
    assert [row.version_before for row in found[CHAMPION].traffic] == [1]


def test_a_deleted_version_names_all_that_serve_it() -> None:
    others = elsewhere("risk", endpoint((entity("first", 1), 60), (entity("last", 4), 40), name="risk"))
    moved = endpoint((entity("champion", "@champion"), 90), (entity("fixed", 4), 10))
    pinned = endpoint((entity("champion", "@champion"), 90), (entity("fixed", 1), 10))
    found = impacts([*registry(3), pinned], [*registry(3, (3, 4)), moved], others=others)
    assert found[Address("model_version", ("fraud", 1))].traffic == (
        Traffic(FRAUD, "fixed", "", 10, "", 1, 4, moves=True),
        Traffic(Address("serving_endpoint", ("risk",)), "first", "risk", 60, "", 1, 1),
    )


def test_a_deleted_model_says_it_once() -> None:
    found = impacts([*registry(3), CANARY], [], others=elsewhere("risk", RISK))
    gone = [
        Traffic(FRAUD, "champion", "", 90, "@champion", 3, None, moves=True),
        Traffic(FRAUD, "fixed", "", 10, "", 3, None, moves=True),
    ]
    assert found[MODEL].traffic == (*gone, Traffic(RISK.address, "main", "risk", 100, "@champion", 3, 3))
    assert {*found} == {MODEL, FRAUD}


def test_a_renamed_model_says_who_serves_it() -> None:
    after = [*registry(3, model="scam"), endpoint((entity("champion", "@champion", "scam"), 100))]
    scam = Address("registered_model", ("scam",))
    before = [*registry(3), endpoint((entity("champion", "@champion"), 100))]
    found = impacts(before, after, renamed=(MODEL, scam), others=elsewhere("risk", RISK))
    assert [(row.stack, row.entity, row.moves) for row in found[scam].traffic] == [
        ("", "champion", False),
        ("risk", "main", False),
    ]
    assert all(address.kind in ("registered_model", "serving_endpoint") for address in found)


def test_a_version_that_goes_with_a_rename_names_who_serves_it() -> None:
    scam = Address("registered_model", ("scam",))
    before = [*registry(3), endpoint((entity("champion", "@champion"), 90), (entity("fixed", 1), 10))]
    after = [
        *registry(3, (3, 4), model="scam"),
        endpoint((entity("champion", "@champion", "scam"), 90), (entity("fixed", 4, "scam"), 10)),
    ]
    pinned = endpoint((entity("first", 1), 100), name="risk")
    found = impacts(before, after, renamed=(MODEL, scam), others=elsewhere("risk", pinned))
    rows = found[Address("model_version", ("scam", 1))].traffic
    assert [(row.stack, row.entity, row.moves) for row in rows] == [
        ("", "fixed", True),
        ("risk", "first", False),
    ]


def test_an_alias_that_moves_with_a_rename_reaches_those_who_know_the_former_name() -> None:
    scam = Address("registered_model", ("scam",))
    found = impacts(
        registry(3), registry(4, model="scam"), renamed=(MODEL, scam), others=elsewhere("risk", RISK)
    )
    rows = found[Address("model_alias", ("scam", "champion"))].traffic
    assert rows == (Traffic(RISK.address, "main", "risk", 100, "@champion", 3, 4),)


def test_the_same_number_of_another_model_is_another_version() -> None:
    others = registry(None, model="spam")
    before = [*registry(3), *others, endpoint((entity("main", 3), 100))]
    after = [*registry(3), *others, endpoint((entity("main", 3, "spam"), 100))]
    assert impacts(before, after)[FRAUD].traffic == (Traffic(FRAUD, "main", "", 100, "", 3, 3, moves=True),)


QUIET: dict[str, tuple[list[Spec], list[Spec]]] = {
    "nothing differs": ([*registry(3), CANARY], [*registry(3), CANARY]),
    "a description": (
        [*registry(3), CANARY],
        [*registry(3), CANARY.model_copy(update={"description": "it"})],
    ),
    "an alias that nobody follows": (registry(3), registry(4)),
    "a version that nobody serves": ([*registry(3), CANARY], [*registry(3, (1, 3, 4, 5)), CANARY]),
}


@pytest.mark.parametrize(("before", "after"), QUIET.values(), ids=QUIET)
def test_a_change_that_touches_nothing_else_has_no_impact(before: list[Spec], after: list[Spec]) -> None:
    assert impacts(before, after) == {}


def test_shares_that_move_show_every_entity() -> None:
    after = endpoint((entity("champion", "@champion"), 50), (entity("fixed", 3), 50))
    found = impacts([*registry(3), CANARY], [*registry(3), after])
    assert [(r.entity, r.share, r.moves) for r in found[FRAUD].traffic] == [
        ("champion", 50, False),
        ("fixed", 50, False),
    ]
    assert found[FRAUD].capacity == ()


# --- capacity


def served(version: int, name: str = "fraud", **options: Any) -> ServingEndpoint:
    return endpoint((entity("champion", version, **options), 100), name=name)


ROOMY, TIGHT = Resources(8, 2, 6, 1), Resources(8, 0, 0.5, 0)
CAPACITY: dict[
    str, tuple[ServingEndpoint | None, ServingEndpoint | None, Resources | None, tuple[Any, ...]]
] = {
    # replicas, CPUs and GPUs before and after, at the peak, free, fits
    "made": (None, served(3, min_replicas=2), None, (0, 2, 0, 2, 0, 0, 2, 0, None, None, None)),
    "promoted": (
        served(3, num_cpus=0.5, min_replicas=2),
        served(4, num_cpus=0.5, min_replicas=2),
        ROOMY,
        (2, 2, 1, 1, 0, 0, 1, 0, 6, 1, True),
    ),
    "without room": (served(3), served(4), TIGHT, (1, 1, 1, 1, 0, 0, 1, 0, 0.5, 0, False)),
    "scaled up": (served(3), served(3, min_replicas=3), ROOMY, (1, 3, 1, 3, 0, 0, 2, 0, 6, 1, True)),
    "scaled down": (served(3, min_replicas=3), served(3), TIGHT, (3, 1, 3, 1, 0, 0, 0, 0, 0.5, 0, True)),
    "onto a GPU": (
        served(3),
        served(3, num_cpus=0, num_gpus=2, max_replicas=4),
        ROOMY,
        (1, 1, 1, 0, 0, 2, 0, 2, 6, 1, False),
    ),
    "deleted": (served(3, num_gpus=1), None, TIGHT, (1, 0, 1, 0, 1, 0, 0, 0, 0.5, 0, True)),
}


@pytest.mark.parametrize(("before", "after", "free", "takes"), CAPACITY.values(), ids=CAPACITY)
def test_an_endpoint_takes_what_its_replicas_take(
    before: ServingEndpoint | None,
    after: ServingEndpoint | None,
    free: Resources | None,
    takes: tuple[Any, ...],
) -> None:
    sides = [[*registry(3), *([side] if side else [])] for side in (before, after)]
    found = impacts(*sides, free=free)
    assert found[FRAUD].capacity == (Capacity(FRAUD, *takes),)


def test_endpoints_that_warm_up_at_once_need_room_together() -> None:
    spam = registry(None, model="spam")

    def world(version: int) -> list[Spec]:
        more = endpoint((entity("only", version, "spam", num_gpus=0.5), 100), name="spam")
        return [*registry(3), *spam, served(version, num_cpus=4), more]

    found = impacts(world(3), world(4), free=Resources(16, 1, 4.5, 1))
    fits = {one.endpoint.name: one.fits for impact in found.values() for one in impact.capacity}
    # each would fit alone
    assert fits == {"fraud": False, "spam": False}
    found = impacts(world(3), world(4), free=Resources(16, 1, 5, 0))
    fits = {one.endpoint.name: one.fits for impact in found.values() for one in impact.capacity}
    assert fits == {"fraud": True, "spam": False}


def test_what_is_gone_from_the_cluster_takes_nothing_until_it_is_back() -> None:
    (gone,) = on_cluster(served(3), SITE.owner).items()
    lost = gone[1].spec
    assert isinstance(lost, ServingEndpoint)
    entities = tuple(e.model_copy(update={"state": MISSING}) for e in lost.served_entities)
    there = {FRAUD: Observed(lost.model_copy(update={"served_entities": entities}), {"owner": SITE.owner})}
    found = impacts([*registry(3), served(3)], [*registry(3), served(3)], cluster=there, free=ROOMY)
    (needs,) = found[FRAUD].capacity
    assert (needs.replicas_before, needs.replicas_after, needs.peak_cpus) == (0, 1, 1)


# --- from end to end


@pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
def test_the_plan_of_a_promotion_names_the_endpoints_of_both_stacks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stacks share a store and a cluster; the second only refers to the first one's model."""
    paper: Paper = on_paper(monkeypatch)
    bench = replace(bench, serve=Serve(local=False, address="http://paper"))
    versions = [ModelVersion(model="fraud", version=n, source=f"/good/{n}") for n in (1, 2)]

    def world(champion: int) -> list[Spec]:
        alias = ModelAlias(model="fraud", alias="champion", version=champion)
        mine = endpoint((entity("champion", "@champion"), 90), (entity("first", 1), 10), auth="none")
        return [RegisteredModel(name="fraud"), *versions, alias, mine]

    risk = RISK.model_copy(update={"auth": "none"})
    converge(bench.stack(world(1), name="payments"))
    converge(bench.stack([risk], name="risk"))
    assert len(paper.apps) == 3

    def told(plan: Plan) -> list[tuple[str, str, int | None, int | None, bool]]:
        (impact,) = (i for i in plan.review.impacts if i.address == CHAMPION)
        return [(r.stack, r.entity, r.version_before, r.version_after, r.moves) for r in impact.traffic]

    rows = [("", "champion", 1, 2, True), ("risk", "main", 1, 2, False)]
    stack = bench.stack(world(2), name="payments")
    assert told(stack.plan()) == rows
    # by the records alone, too: the other stack may be on another cluster
    assert told(stack.plan(refresh=False)) == rows
