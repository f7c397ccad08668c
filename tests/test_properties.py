"""What must hold for every pair of worlds, however often the process dies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from support import shared
from support.bench import Bench, converge
from support.mlflow_fixture import drop_postgres, fresh_postgres, fresh_sqlite

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.diff import diff, restrict_to_owned
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stores import processes

EXAMPLES = {"sqlite": 8, "postgresql": 3}
"""Each is an apply or two on fresh databases, which are dear on PostgreSQL; `--everywhere`: 80."""


def examples(dialect: str) -> settings:
    """How many worlds a property is tried in there."""
    everywhere = settings.get_current_profile_name() == "everywhere"
    return settings(
        max_examples=80 if everywhere else EXAMPLES[dialect], suppress_health_check=[HealthCheck.too_slow]
    )


NAMES = st.sampled_from(["fraud", "churn", "ads"])
TEXTS = st.sampled_from(["", "v1", "Größe → 5"])
TAGS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["x", "y"]))


@st.composite
def worlds(draw: st.DrawFn) -> list[Spec]:
    """Manifests that validate: every alias has its version, every grant its role and its resource."""
    specs: list[Spec] = []
    roles = sorted(draw(st.sets(st.sampled_from(["analysts", "ops"]))))
    specs += [Role(name=name, description=draw(TEXTS)) for name in roles]
    for name in sorted(draw(st.sets(NAMES))):
        specs.append(RegisteredModel(name=name, description=draw(TEXTS), tags=draw(TAGS)))
        count = draw(st.integers(0, 3))
        for number in range(1, count + 1):
            stage = draw(st.sampled_from(["None", "Production"]))
            source = f"s3://bucket/{name}/{number}"
            specs.append(
                ModelVersion(model=name, version=number, source=source, tags=draw(TAGS), stage=stage)  # type: ignore[arg-type]  # pydantic checks the stage
            )
        for alias in sorted(draw(st.sets(st.sampled_from(["champion", "shadow"])))) if count else ():
            specs.append(ModelAlias(model=name, alias=alias, version=draw(st.integers(1, count))))
        for role in roles:
            if draw(st.booleans()):
                level: Any = draw(st.sampled_from(["READ", "EDIT", "DENY"]))
                specs.append(
                    Permission(role=role, resource_type="registered_model", resource=name, level=level)
                )
    for name in sorted(draw(st.sets(st.sampled_from(["/Users/a/x", "nightly"])))):
        specs.append(Experiment(name=name, description=draw(TEXTS), tags=draw(TAGS)))
    return specs


@contextmanager
def benches(dialect: str) -> Iterator[Bench]:
    """Databases of their own for one example; on PostgreSQL one for everything, as MLflow allows."""
    with tempfile.TemporaryDirectory(dir=shared.directory()) as path:
        directory = Path(path)
        if dialect == "sqlite":
            yield Bench(directory, fresh_sqlite(directory), fresh_sqlite(directory, "auth"))
        else:
            url = fresh_postgres()
            try:
                yield Bench(directory, url, url)
            finally:
                drop_postgres(url)


DIALECTS = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])


class DiedError(Exception):
    """Stands for the end of the process."""


@contextmanager
def death_after(writes: int) -> Iterator[None]:
    """Let so many statements that write through, then fail every later one and every commit."""
    left = writes

    def tick(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise DiedError

    def check(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN", "ROLLBACK")):
            tick()

    # whoever comes next must find the lock's holder dead, as it would be
    dead = mock.patch.object(
        processes, "identity", return_value=f"{processes._machine()} pid 999999999 started 1"
    )
    event.listen(Engine, "before_cursor_execute", check)
    event.listen(Engine, "commit", tick)
    try:
        with dead:
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", check)
        event.remove(Engine, "commit", tick)


def assert_reached(bench: Bench, world: list[Spec]) -> None:
    """The stores hold what the world says, and our records agree."""
    live, records = bench.live(), bench.records()
    assert records.keys() == {spec.address for spec in world}
    for spec in world:
        recorded = records[spec.address].spec
        assert recorded is not None
        assert diff(restrict_to_owned(live[spec.address].spec, recorded), recorded) == ()
    assert bench.stack(world).plan().changes == ()


@DIALECTS
def test_one_apply_reaches_any_world_from_any_other(dialect: str) -> None:
    @examples(dialect)
    @given(worlds(), worlds())
    def holds(first: list[Spec], second: list[Spec]) -> None:
        with benches(dialect) as bench:
            if first:
                converge(bench.stack(first))
                assert_reached(bench, first)
            if second:
                converge(bench.stack(second))
                assert_reached(bench, second)

    holds()


@DIALECTS
def test_a_crash_anywhere_loses_nothing(dialect: str) -> None:
    @examples(dialect)
    @given(worlds().filter(bool), worlds().filter(bool), st.integers(0, 40))
    def holds(first: list[Spec], second: list[Spec], writes: int) -> None:
        with benches(dialect) as bench:
            converge(bench.stack(first))
            before = bench.live().keys()
            try:
                with death_after(writes):
                    converge(bench.stack(second))
            except DiedError:
                pass
            made = bench.live().keys() - before
            assert made <= bench.records().keys(), "an object nobody remembers"
            converge(bench.stack(second))
            assert_reached(bench, second)

    holds()


@pytest.mark.any_store
@DIALECTS
def test_the_order_of_declaration_does_not_matter(dialect: str) -> None:
    @examples(dialect)
    @given(worlds().filter(bool), worlds().filter(bool), st.randoms())
    def holds(first: list[Spec], second: list[Spec], luck: Any) -> None:
        shuffled = [*second]
        luck.shuffle(shuffled)
        with benches(dialect) as bench:
            converge(bench.stack(first))
            assert bench.stack(shuffled).plan() == bench.stack(second).plan()

    holds()


@DIALECTS
def test_what_is_not_ours_is_never_touched(dialect: str) -> None:
    @examples(dialect)
    @given(worlds().filter(bool), worlds())
    def holds(theirs: list[Spec], ours: list[Spec]) -> None:
        with benches(dialect) as bench:
            converge(bench.stack(theirs, name="theirs"))
            taken = {spec.address for spec in theirs}
            mine = [s for s in ours if s.address not in taken and not {*s.refs()} & taken]
            mine = [s for s in mine if {*s.refs()} <= {x.address for x in mine}]
            held = bench.live()
            if mine:
                converge(bench.stack(mine, name="mine"))
                list(bench.stack(name="mine").apply(bench.stack(name="mine").plan(destroy=True)))
            assert {a: found.spec for a, found in bench.live().items()} == {
                a: f.spec for a, f in held.items()
            }

    holds()
