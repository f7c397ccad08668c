"""A crash at every effect and every commit of an apply, and every answer of the store's lost in turn.

The effects are numbered by running: k = 1, 2, … until an apply ends before its k-th. Each time a child is
killed for good. What stands then must be what stands between two effects of an undisturbed apply; each such
state is looked at once, through the whole engine: nothing is unrecorded, the next plan says what is left and
why, and one apply converges.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool, Pool
from support import failpoints
from support.bench import Bench, converge
from support.failpoints import Side, hurried, place, standing, work
from support.fake_ray import PaperRay, paper_ray
from support.mlflow_fixture import copy_postgres, drop_postgres, fresh_postgres, fresh_sqlite
from support.process_pool import Forks

from lifecycle_as_code.engine.refresh import with_cluster
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.kinds.serving_endpoint.apps import as_apps
from lifecycle_as_code.model.diff import diff, restrict_to_owned
from lifecycle_as_code.model.history import find_state
from lifecycle_as_code.model.plan import Change, Plan
from lifecycle_as_code.model.snapshot import Claim, Live, Move, Observed, Record
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stack import Stack
from lifecycle_as_code.stores.ray.apps import ingress_name, owner

REASONS = re.compile(
    "declared|manifest changed|no longer declared|interrupted apply|follows .*|moved from .*|granted outside"
)
CAUGHT_UP = re.compile("already so|already gone")
"""Reasons of changes to our own records alone: Ray's part was done, and only we don't know it."""


def model(
    name: str, *versions: int, text: str = "", tags: Mapping[str, str] = {}, **aliases: int
) -> list[Spec]:
    return [
        RegisteredModel(name=name, description=text, tags=tags),
        *(ModelVersion(model=name, version=v, source=f"s3://bucket/{v}", tags=tags) for v in versions),
        *(ModelAlias(model=name, alias=alias, version=version) for alias, version in aliases.items()),
    ]


def grant(role: str, model: str, level: str) -> Spec:
    held: Any = {"role": role, "resource_type": "registered_model", "resource": model, "level": level}
    return Permission(**held)


FIRST = [
    *model("fraud", 1, 2, 3, text="Scores payments.", tags={"team": "risk"}, champion=1, shadow=2, spare=1),
    *model("churn", 1, tags={"team": "crm"}, champion=1),
    Role(name="analysts"),
    Role(name="interns"),
    grant("analysts", "fraud", "READ"),
    grant("interns", "fraud", "READ"),
]
CHANGED = [
    # made, updated, its alias moved, its alias and its version deleted; a model deleted; granted and revoked
    *model("fraud", 1, 2, text="Scores card payments.", tags={"team": "cards"}, champion=2, shadow=1),
    *model("ads", 1, champion=1),
    Role(name="analysts", description="They look."),
    Role(name="ops"),
    grant("analysts", "fraud", "EDIT"),
    grant("ops", "ads", "MANAGE"),
]
RENAMED = [
    *model("cards", 1, 2, 3, text="Scores payments.", tags={"team": "cards"}, champion=2, shadow=2, spare=1),
    *model("churn", 1, tags={"team": "crm"}, champion=1),
    Role(name="analysts"),
    grant("analysts", "cards", "READ"),
]
FRAUD = Address("registered_model", ("fraud",))
MOVE = Move(FRAUD, Address("registered_model", ("cards",)))


def served(champion: int, *, endpoint: bool = True) -> list[Spec]:
    here = ServedEntity(name="champion", entity_name="fraud", entity_version="@champion")
    front = ServingEndpoint.model_validate({"name": "fraud", "served_entities": (here,), "auth": "none"})
    return [*model("fraud", 1, 2, champion=champion), *([front] if endpoint else [])]


@dataclass(frozen=True)
class Story:
    """From one world to another. `too`: other fields of Desired. Objects in `outside` are made by others."""

    before: list[Spec]
    after: list[Spec]
    too: Mapping[str, Any] = field(default_factory=dict)
    outside: tuple[Spec, ...] = ()
    on_ray: bool = False


STORIES = {
    "first": Story([], FIRST),
    "changes": Story(
        FIRST,
        CHANGED,
        {"scopes": {FRAUD: Claim(exclusive=False)}},
        outside=(Role(name="guests"), grant("guests", "fraud", "READ")),
    ),
    "rename": Story(FIRST, RENAMED, {"moves": (MOVE,)}),
    "endpoint": Story(served(1, endpoint=False), served(1), on_ray=True),
    "promotion": Story(served(1), served(2), on_ray=True),
    "removal": Story(served(1), served(1, endpoint=False), on_ray=True),
}
HERE = {
    "test_a_crash_at_any_effect_leaves_what_one_apply_completes": (
        ["first", "promotion"],
        ["rename"],
    ),
    "test_a_commit_whose_answer_is_lost_is_settled": (["promotion"], ["changes"]),
    "test_a_commit_that_was_not_done_is_no_success": (["changes"], ["changes"]),
    "test_a_store_that_stays_away_leaves_it_unknown_and_not_half_done": (["changes"], ["changes"]),
}
"""By test, the stories that it plays on SQLite and those on PostgreSQL; `--everywhere` plays all on both."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name = metafunc.function.__name__
    if name in HERE:
        everywhere = metafunc.config.getoption("--everywhere")
        stores = zip(("sqlite", "postgresql"), HERE[name], strict=True)
        cases = [(story, store) for store, some in stores for story in (STORIES if everywhere else some)]
        metafunc.parametrize(("name", "dialect"), cases, ids=map("-".join, cases))


@dataclass
class Theatre:
    """A story's stores as they are before it, and copies of them to play it in."""

    story: Story
    forks: Forks
    origin: Bench
    ray: PaperRay | None
    plan: Plan
    saved: bytes
    there: frozenset[Address]
    apps: Mapping[str, Any]
    _stage: Bench | None = None

    @property
    def stage(self) -> Bench:
        """Where it is played."""
        assert self._stage is not None
        return self._stage

    def set(self) -> Bench:
        """Everything as it was before the story."""
        self.strike()
        origin = self.origin
        if self.ray is not None:
            self.ray.paper.apps = dict(self.apps)
        if origin.store.startswith("sqlite"):
            paths = {
                url: Path(make_url(url).database or "") for url in (origin.store, origin.auth_store or "")
            }
            for path in paths.values():
                shutil.copyfile(path, path.with_name(f"stage-{path.name}"))
            store, auth = (f"sqlite:///{p.with_name(f'stage-{p.name}')}" for p in paths.values())
        else:
            store = auth = copy_postgres(str(make_url(origin.store).database))
        self._stage = replace(origin, store=store, auth_store=auth)
        return self._stage

    def strike(self) -> None:
        """Clear the stage away."""
        if self._stage is not None and not self._stage.store.startswith("sqlite"):
            drop_postgres(self._stage.store)
        self._stage = None

    def stack(self) -> Stack:
        """The stack that wants the story to be over."""
        return self.stage.stack(self.story.after, **self.story.too)

    def standing(self) -> tuple[str, ...]:
        """What stands, once the store has noticed who is gone."""
        if not self.stage.store.startswith("sqlite"):
            _await_alone(self.stage.store)
        return standing(place(self.stage))

    def states(self) -> list[tuple[str, ...]]:
        """What stands between the effects of an undisturbed apply, the start and the end included."""
        self.set()
        first = self.standing()
        outcome, seen = self.forks.run(failpoints.traced, place(self.stage), self.saved).result
        assert outcome == "complete"
        return list(dict.fromkeys([first, *seen]))


def _await_alone(url: str) -> None:
    """Until PostgreSQL has undone what a killed client had begun."""
    engine = create_engine(url, poolclass=NullPool)
    others = text(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    until = time.monotonic() + 60
    while True:
        with engine.connect() as db:
            if db.execute(others).first() is None:
                return
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    event.listen(Pool, "connect", hurried)
    yield
    event.remove(Pool, "connect", hurried)


@pytest.fixture
def theatre(tmp_path: Path, forks: Forks, name: str, dialect: str) -> Iterator[Theatre]:
    with _theatre(tmp_path, forks, STORIES[name], dialect) as made:
        yield made


@contextmanager
def _theatre(path: Path, forks: Forks, story: Story, dialect: str) -> Iterator[Theatre]:
    with ExitStack() as until_done:
        if dialect == "sqlite":
            store, auth = fresh_sqlite(path), fresh_sqlite(path, "auth")
        else:
            store = auth = fresh_postgres()
            until_done.callback(drop_postgres, store)
        ray = until_done.enter_context(paper_ray()) if story.on_ray else None
        bench = Bench(path, store, auth, serve=ray.serve if ray else None)
        if story.before:
            converge(bench.stack(story.before))
        if story.outside:
            converge(bench.stack(story.outside, name="others"))
            stack = bench.stack(name="others")
            stack.forget([spec.address for spec in story.outside])
        stack = bench.stack(story.after, **story.too)
        plan = stack.plan()
        apps = dict(ray.paper.apps) if ray else {}
        there = frozenset(live(bench))
        made = Theatre(story, forks, bench, ray, plan, stack.save_plan(plan), there, apps)
        yield made
        made.strike()


def test_a_crash_at_any_effect_leaves_what_one_apply_completes(
    theatre: Theatre, record_property: Callable[[str, object], None], pytestconfig: pytest.Config
) -> None:
    """Between an effect and the next one nothing outside changes: killed after one is killed before the next.
    So only the last is played from both sides; `--everywhere` plays all."""
    everywhere = pytestconfig.getoption("--everywhere")
    states = theatre.states()
    seen: dict[Side, set[tuple[str, ...]]] = {"before": set(), "after": set()}
    mended: set[tuple[object, ...]] = set()
    killed = 0
    for side, reached in seen.items():
        killed = 0 if everywhere else max(killed - 1, 0)
        stands: tuple[str, ...] | None = None
        while True:
            if stands != states[0]:
                theatre.set()
            ended = theatre.forks.run(
                failpoints.killed, place(theatre.stage), theatre.saved, killed + 1, side
            )
            if not ended.killed:
                break
            killed += 1
            stands = theatre.standing()
            assert stands in states, f"half done, killed {side} effect {killed}"
            reached.add(stands)
            # what stands, and whether a dead one has the lock
            sort = work(stands), *(line for line in stands if line.startswith("lac_lock"))
            if sort not in mended:
                mended.add(sort)
                _mends(theatre)
                stands = None
        assert ended.result == "complete"
        assert theatre.standing() == states[-1]
        record_property(side, killed)
        print(f"{killed} failpoints, killed {side} each")
    assert {*states} - seen["before"] <= {states[-1]}
    # nothing could be killed after it, before the first one
    assert {*states} - seen["after"] - (set() if everywhere else seen["before"]) <= {states[0]}


def _mends(theatre: Theatre) -> None:
    """What the killed one made is recorded and told, the plan names what is left, and one apply does that."""
    bench, stack = theatre.stage, theatre.stack()
    here, records = live(bench), bench.records()
    assert here.keys() - theatre.there <= records.keys(), "nobody remembers it"
    if theatre.ray is not None:
        names = {name for record in records.values() if record.pending for name in record.pending.names}
        assert theatre.ray.paper.apps.keys() - theatre.apps.keys() <= names | _named(bench, records)
    lines = [line for apply in stack.history() for line in apply.lines]
    assert find_state(lines, 2**62) == {a: r.spec for a, r in records.items() if r.spec is not None}
    plan = stack.plan()
    for change in plan.changes:
        expected = REASONS if change.action.is_difference else CAUGHT_UP
        assert expected.fullmatch(change.reason), change
    assert {c.address for c in plan.differences} == _left(theatre.plan, here)
    drifted = {c.address for c in stack.drift().outside.changes}
    pending = {a for a, record in records.items() if record.pending is not None}
    assert drifted == pending | {c.address for c in plan.changes if c.reason == "granted outside"}
    _completes(theatre)


def _completes(theatre: Theatre) -> None:
    """One apply converges, whoever held the lock."""
    converge(theatre.stack())
    stack = theatre.stack()
    assert stack.plan().changes == ()
    assert not stack.drift().exists
    assert theatre.stage.records().keys() == {spec.address for spec in theatre.story.after}
    if theatre.ray is not None:
        endpoints = sum(isinstance(spec, ServingEndpoint) for spec in theatre.story.after)
        assert len(theatre.ray.paper.apps) == endpoints


def live(bench: Bench) -> dict[Address, Observed]:
    """Everything that is there, on Ray too."""
    found = bench.live()
    with bench.stack()._connections.cluster() as cluster:
        if cluster is not None:
            found |= with_cluster(list(bench.kinds.values()), cluster, Live()).objects
    return found


def _named(bench: Bench, records: Mapping[Address, Record]) -> set[str]:
    """The apps of endpoints that are recorded as applied."""
    ledger = bench.stack()._connections.ledger()
    with ledger.reading() as db:
        ours = owner(ledger.stack, ledger.read_ids(db)["registry"])
    specs = [r.spec for r in records.values() if isinstance(r.spec, ServingEndpoint)]
    return {app for spec in specs for app in (ingress_name(spec.name), *as_apps(ours, spec).apps)}


def _left(plan: Plan, here: Mapping[Address, Observed]) -> set[Address]:
    """What the plan was to do, less what is so by now."""
    renamed = all(after in here for _, after in plan.moves)
    left = set()
    for change in plan.differences:
        if renamed and change.moved_from in here:
            # its database was to follow that of the model; what is named after it goes, and comes anew
            left |= {change.moved_from} if change.after is None else {change.moved_from, change.address}
        elif not _is_done(change, here):
            left.add(change.address)
    return left


def _is_done(change: Change, here: Mapping[Address, Observed]) -> bool:
    found = here.get(change.address)
    if change.after is None:
        return found is None and change.moved_from not in here
    return found is not None and not diff(
        restrict_to_owned(found.spec, change.before, change.after), change.after
    )


def test_a_commit_whose_answer_is_lost_is_settled(
    theatre: Theatre, record_property: Callable[[str, object], None]
) -> None:
    over = work(theatre.states()[-1])
    number = 0
    while (outcome := _unanswered(theatre, number + 1, done=True)) != "none":
        number += 1
        assert outcome == "complete", f"commit {number}"
        assert work(theatre.standing()) == over
    _completes(theatre)
    record_property("commits", number)
    print(f"{number} commits")


def test_a_commit_that_was_not_done_is_no_success(theatre: Theatre) -> None:
    states = [*map(work, theatre.states())]
    number = 0
    outcomes: list[str] = []
    while (outcome := _unanswered(theatre, number + 1, done=False)) != "none":
        number += 1
        outcomes.append(outcome)
        stands = work(theatre.standing())
        # what an endpoint's warm-up had made was taken back
        assert stands in states or theatre.ray is not None, f"commit {number}"
        if outcome == "complete":
            assert stands == states[-1]
        _completes(theatre)
    # last it is noted how it ended and that the lock is free; a rollout renews its lease in between
    assert outcomes[-2:] == ["complete"] * 2
    assert theatre.ray is not None or "complete" not in outcomes[:-2]


def test_a_store_that_stays_away_leaves_it_unknown_and_not_half_done(theatre: Theatre) -> None:
    states = [*map(work, theatre.states())]
    number = 0
    outcomes: list[str] = []
    while (outcome := _unanswered(theatre, number + 1, done=number % 2 == 0, settle=-1.0)) != "none":
        number += 1
        outcomes.append(outcome)
        assert work(theatre.standing()) in states, f"commit {number}"
        _completes(theatre)
    # that it is over can't be noted any more
    assert outcomes == ["commit-unknown"] * (len(outcomes) - 2) + ["complete"] * 2


def _unanswered(theatre: Theatre, number: int, *, done: bool, settle: float | None = None) -> str:
    theatre.set()
    told = theatre.forks.run(
        failpoints.unanswered, place(theatre.stage), theatre.saved, number, done, settle
    ).result
    assert isinstance(told, str)
    return told
