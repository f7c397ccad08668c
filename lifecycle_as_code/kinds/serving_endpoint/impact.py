"""What each change of a plan touches among endpoints: their traffic and their capacity. Pure.

Endpoints of other stacks are known from what those stacks recorded in the same store, and from the cluster:
an endpoint without a record serves a model of ours if it loads from the place where that model's files are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...model.plan import Action, Change, Plan
from ...model.review import Capacity, Impact, Traffic
from ...model.snapshot import Live, Recorded
from ...model.spec import Address, Spec
from .capacity import capacities
from .spec import ServedEntity, ServingEndpoint, alias_of


def impacts(plan: Plan, recorded: Recorded, live: Live) -> Iterator[Impact]:
    """What the plan's differences touch, in its order; a change that touches no endpoint has no impact. What
    the plan leaves alone stays as it is live."""
    scene = _Scene.of(plan, recorded, live)
    room = {one.endpoint: (one,) for one in capacities(plan.differences, live) if _matters(one)}
    for change in plan.differences:
        traffic, capacity = tuple(_traffic(change, scene)), room.get(change.address, ())
        if traffic or capacity:
            yield Impact(change.address, traffic, capacity)


def _matters(needs: Capacity) -> bool:
    before = needs.replicas_before, needs.cpus_before, needs.gpus_before
    after = needs.replicas_after, needs.cpus_after, needs.gpus_after
    return before != after or needs.peak_cpus > 0 or needs.peak_gpus > 0


@dataclass(frozen=True, slots=True)
class _Entity:
    """A served entity before and after the plan, with models by their names after it; None where it doesn't
    exist."""

    endpoint: Address
    name: str
    before: ServedEntity | None
    after: ServedEntity | None
    share: float | None
    stack: str = ""

    @property
    def side(self) -> ServedEntity:
        """The side that exists: `after` where there is one."""
        side = self.after or self.before
        assert side is not None
        return side

    @property
    def moves(self) -> bool:
        """Whether it serves something else after the plan."""
        before, after = (
            (side.entity_name, _version(side)) if side else None for side in (self.before, self.after)
        )
        return before != after

    def row(self, stands_for: int | None = None) -> Traffic:
        """The entity's row. `stands_for`: the alias's version after the plan, where a moved alias reaches
        it."""
        alias = alias_of(self.side)
        before, after = _version(self.before), _version(self.after)
        # of another stack's, both sides are the same
        return Traffic(
            self.endpoint,
            self.name,
            self.stack,
            self.share,
            f"@{alias}" if alias else "",
            before,
            stands_for if self.stack and stands_for is not None else after,
            moves=self.moves,
        )


@dataclass(frozen=True, slots=True)
class _Scene:
    """The plan's differences, and every served entity: by its models before and after, and by its
    endpoint."""

    changes: Mapping[Address, Change]
    by_model: Mapping[str, Sequence[_Entity]]
    by_endpoint: Mapping[Address, Sequence[_Entity]]

    @classmethod
    def of(cls, plan: Plan, recorded: Recorded, live: Live) -> _Scene:
        changes = {change.address: change for change in plan.differences}
        by_model: dict[str, list[_Entity]] = defaultdict(list)
        by_endpoint: dict[Address, list[_Entity]] = defaultdict(list)
        onward = {str(before.key[0]): str(after.key[0]) for before, after in _models(plan)}
        for served in (
            *_own(changes, recorded, live, onward),
            *_of_others(plan, recorded, live, onward),
        ):
            for model in {side.model for side in (served.before, served.after) if side is not None}:
                by_model[model].append(served)
            by_endpoint[served.endpoint].append(served)
        return cls(changes, by_model, by_endpoint)

    def serving(self, model: str) -> list[_Entity]:
        """Entities of this model; this stack's first."""
        return sorted(self.by_model.get(model, ()), key=lambda s: (s.stack, s.endpoint, s.name))


def _traffic(change: Change, scene: _Scene) -> Iterator[Traffic]:
    """The decision table: which served entities a change reaches."""
    key = change.address.key
    model = str(key[0])
    owner = scene.changes.get(Address("registered_model", (model,)))
    match change.address.kind, change.action:
        case "serving_endpoint", _:
            yield from _own_traffic(change, scene)
        case "registered_model", action if action is Action.DELETE or change.moved_from:
            yield from (served.row() for served in scene.serving(model))
        case (("model_alias" | "model_version"), Action.MOVE):
            # the model's rename shows it
            return
        case (("model_alias" | "model_version"), Action.DELETE) if owner and owner.action is Action.DELETE:
            return
        case "model_version", Action.DELETE:
            for served in scene.serving(model):
                if any(_is(side, model, key[1]) for side in (served.before, served.after)):
                    yield served.row()
        case "model_alias", _:
            stands_for = getattr(change.after, "version", None)
            for served in scene.serving(model):
                if _reaches(served, model, str(key[1])):
                    yield served.row(stands_for if alias_of(served.side) else None)


def _reaches(served: _Entity, model: str, alias: str) -> bool:
    """Whether an entity follows the alias; for another stack's entity, also whether it serves the model by
    number."""
    follows = alias_of(served.side)
    return served.side.entity_name == model and (follows == alias or (bool(served.stack) and not follows))


def _own_traffic(change: Change, scene: _Scene) -> Sequence[Traffic]:
    """All entities of the endpoint, if one of them serves another version or has another share."""
    entities = scene.by_endpoint.get(change.address, ())
    before = _endpoint(change.before)
    moved = any(
        served.moves or (before is not None and _share(before, served.name) != served.share)
        for served in entities
    )
    return [served.row() for served in entities] if moved else []


def _models(plan: Plan) -> Iterator[tuple[Address, Address]]:
    """The models that the plan renames."""
    yield from (pair for pair in plan.moves if pair[0].kind == "registered_model")


def _rename_models(spec: ServingEndpoint | None, onward: Mapping[str, str]) -> ServingEndpoint | None:
    """An endpoint with the names of its models after the plan."""
    if spec is None or not any(entity.entity_name in onward for entity in spec.served_entities):
        return spec
    entities = tuple(
        entity.model_copy(update={"entity_name": onward.get(entity.model, entity.entity_name)})
        for entity in spec.served_entities
    )
    return spec.model_copy(update={"served_entities": entities})


def _own(
    changes: Mapping[Address, Change], recorded: Recorded, live: Live, onward: Mapping[str, str]
) -> Iterator[_Entity]:
    """The entities of this stack's endpoints; what the plan leaves alone is the same before and after."""
    for address in sorted({a for a in (*recorded.ours, *changes) if a.kind == ServingEndpoint.kind}):
        change, seen = changes.get(address), live.present(address)
        before = _rename_models(_endpoint(change.before if change else seen.spec if seen else None), onward)
        yield from _entities(address, before, _endpoint(change.after) if change else before)


def _of_others(plan: Plan, recorded: Recorded, live: Live, onward: Mapping[str, str]) -> Iterator[_Entity]:
    """The entities of other stacks' endpoints, live ones first; recorded ones where the cluster has none."""
    others = {
        address: (recorded.others[address], spec)
        for address, spec in recorded.elsewhere.items()
        if isinstance(spec, ServingEndpoint)
    }
    ours = {*recorded.ours, *(change.address for change in plan.changes)}
    stored = _locations(plan, live)
    for address, seen in live.objects.items():
        spec = _endpoint(seen.spec)
        if spec is None or address in ours:
            continue
        stack = str(seen.facts.get("owner", "")).partition("@")[0]
        loads = any(
            entity.location and stored.get((entity.model, entity.entity_version)) == entity.location
            for entity in spec.served_entities
        )
        if recorded.others.get(address) == stack or (address not in others and loads):
            others[address] = stack, spec
    for address, (stack, spec) in sorted(others.items()):
        spec = _rename_models(spec, onward)
        yield from _entities(address, spec, spec, stack)


def _locations(plan: Plan, live: Live) -> dict[tuple[str, object], str | None]:
    """The location of each version's files, by its model's name until the plan is applied."""
    former = {after: before for before, after in _models(plan)}
    places: dict[tuple[str, object], str | None] = {}
    for address, seen in live.objects.items():
        if address.kind == "model_version":
            model = Address("registered_model", address.key[:1])
            place = getattr(seen.spec, "storage_location", None) or getattr(seen.spec, "source", None)
            places[str(former.get(model, model).key[0]), address.key[1]] = place
    return places


def _entities(
    address: Address, before: ServingEndpoint | None, after: ServingEndpoint | None, stack: str = ""
) -> Iterator[_Entity]:
    was = {entity.name: entity for entity in before.served_entities} if before else {}
    will_be = {entity.name: entity for entity in after.served_entities} if after else {}
    for name in sorted({*was, *will_be}):
        spec = after if name in will_be else before
        assert spec is not None
        yield _Entity(address, name, was.get(name), will_be.get(name), _share(spec, name), stack)


def _share(spec: ServingEndpoint, name: str) -> float | None:
    """An entity's share of the traffic, in percent; a single entity has all of it."""
    if not spec.traffic_config.routes and len(spec.served_entities) == 1:
        return 100.0
    shares = {route.served_entity_name: route.traffic_percentage for route in spec.traffic_config.routes}
    return shares.get(name)


def _endpoint(spec: Spec | None) -> ServingEndpoint | None:
    return spec if isinstance(spec, ServingEndpoint) else None


def _version(entity: ServedEntity | None) -> int | None:
    """The version's number; None where it isn't resolved."""
    number = entity.entity_version if entity else None
    return number if isinstance(number, int) else None


def _is(entity: ServedEntity | None, model: str, version: object) -> bool:
    return entity is not None and entity.entity_name == model and entity.entity_version == version
