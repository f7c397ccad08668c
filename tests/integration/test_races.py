"""Several applies at once, as processes of their own that are let go together: they end like some serial
order.

Twenty races in all, each once; `--races 200` runs each ten times.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool
from support import concurrent_applies
from support.bench import Bench, converge
from support.concurrent_applies import AGAIN, Finish
from support.failpoints import hurried, place, written
from support.mlflow_fixture import drop_postgres, fresh_postgres, fresh_sqlite
from support.process_pool import Forks

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.spec import Address, Spec

RACES = 20
"""How many races this file has, each run once by default."""
RACERS = pytest.mark.parametrize("racing", [2, 8])
DIALECTS = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
CHAMPION = Address("model_alias", ("fraud", "champion"))

Report = Callable[[list[Finish]], None]


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    event.listen(Pool, "connect", hurried)
    yield
    event.remove(Pool, "connect", hurried)


@pytest.fixture
def arenas(request: pytest.FixtureRequest, tmp_path: Path, dialect: str) -> Iterator[Bench]:
    """Fresh databases, as often as this race is to be run."""
    times = max(1, round(request.config.getoption("--races") / RACES))

    def each() -> Iterator[Bench]:
        for number in range(times):
            with _arena(tmp_path / str(number), dialect) as bench:
                yield bench

    return each()


@contextmanager
def _arena(path: Path, dialect: str) -> Iterator[Bench]:
    path.mkdir()
    if dialect == "sqlite":
        yield Bench(path, fresh_sqlite(path), fresh_sqlite(path, "auth"))
        return
    url = fresh_postgres()
    try:
        yield Bench(path, url, url)
    finally:
        drop_postgres(url)


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Tell how the racers ended, and how often they had to try again."""

    def tell(finishes: list[Finish]) -> None:
        told = dict(Counter(f.outcome for f in finishes)), sum(f.retries for f in finishes)
        record_property("race", told)
        print("outcomes {}, tried again {} times".format(*told))

    return tell


def race(forks: Forks, works: list[tuple[Callable[..., Finish], tuple[Any, ...]]]) -> list[Finish]:
    return [ended.result for ended in forks.together(works)]


def fraud(versions: int, champion: int, text: str = "") -> list[Spec]:
    return [
        RegisteredModel(name="fraud", description=text),
        *(ModelVersion(model="fraud", version=n, source=f"s3://fraud/{n}") for n in range(1, versions + 1)),
        ModelAlias(model="fraud", alias="champion", version=champion),
    ]


def champion(bench: Bench) -> int:
    spec = bench.live()[CHAMPION].spec
    assert isinstance(spec, ModelAlias)
    return spec.version


@DIALECTS
@RACERS
def test_of_saved_plans_that_move_one_alias_the_first_is_applied_and_the_others_are_stale(
    arenas: Iterator[Bench], forks: Forks, racing: int, report: Report
) -> None:
    for bench in arenas:
        converge(bench.stack(fraud(racing + 1, racing + 1)))
        stacks = [bench.stack(fraud(racing + 1, n)) for n in range(1, racing + 1)]
        works = [(concurrent_applies.carries_out, (place(bench), s.save_plan(s.plan()))) for s in stacks]
        finishes = race(forks, works)
        report(finishes)
        assert Counter(f.outcome for f in finishes) == {"complete": 1, "stale-plan": racing - 1}
        (winner,) = (n for n, f in enumerate(finishes, 1) if f.outcome == "complete")
        assert champion(bench) == winner
        assert bench.stack(fraud(racing + 1, winner)).plan().changes == ()


def _own(number: int, text: str = "") -> list[Spec]:
    """What the stack of that number has for itself."""
    return [
        RegisteredModel(name=f"model-{number}", description=text),
        ModelVersion(model=f"model-{number}", version=1, source=f"s3://model/{number}"),
        ModelAlias(model=f"model-{number}", alias="champion", version=1),
        Role(name=f"role-{number}"),
    ]


def _shared(number: int, *, moved: bool) -> list[Spec]:
    """A version and an alias of a model that is another stack's."""
    version = ModelVersion(
        model="shared",
        version=number + 1,
        source=f"s3://shared/{number}",
        stage="Production" if moved else "None",
    )
    alias = ModelAlias(model="shared", alias=f"of-{number}", version=2 - number if moved else number + 1)
    return [version, alias]


@DIALECTS
@RACERS
def test_stacks_that_share_a_store_and_a_model_all_succeed(
    arenas: Iterator[Bench], forks: Forks, racing: int, report: Report
) -> None:
    for bench in arenas:
        converge(bench.stack([RegisteredModel(name="shared")], name="owner"))
        for number in range(2):
            converge(bench.stack(_shared(number, moved=False), name=f"stack-{number}"))
        wanted = [
            [*_own(number), *(_shared(number, moved=True) if number < 2 else [])] for number in range(racing)
        ]
        _all_succeed(bench, forks, wanted, report)


@DIALECTS
@RACERS
def test_first_applies_of_several_stacks_make_our_tables_once(
    arenas: Iterator[Bench], forks: Forks, racing: int, report: Report
) -> None:
    for bench in arenas:
        _all_succeed(bench, forks, [_own(number) for number in range(racing)], report)


def _all_succeed(bench: Bench, forks: Forks, wanted: list[list[Spec]], report: Report) -> None:
    works = [
        (concurrent_applies.plans_and_applies, (place(bench), f"stack-{n}", written(specs), AGAIN))
        for n, specs in enumerate(wanted)
    ]
    finishes = race(forks, works)
    report(finishes)
    assert {f.outcome for f in finishes} == {"complete"}
    here = bench.live()
    assert {spec.address for specs in wanted for spec in specs} <= here.keys()
    for number, specs in enumerate(wanted):
        stack = bench.stack(specs, name=f"stack-{number}")
        assert stack.plan().changes == ()
        assert not stack.drift().exists
        assert bench.records(f"stack-{number}").keys() == {spec.address for spec in specs}


@DIALECTS
@RACERS
@pytest.mark.parametrize("begun", [True, False], ids=["again", "first"])
def test_applies_of_one_stack_follow_each_other(
    arenas: Iterator[Bench], forks: Forks, racing: int, begun: bool, report: Report
) -> None:
    for bench in arenas:
        if begun:
            converge(bench.stack(fraud(racing, 1)))
        wanted = [fraud(racing, n, f"by {n}") for n in range(1, racing + 1)]
        again = AGAIN | {"stale-plan"}
        works = [
            (concurrent_applies.plans_and_applies, (place(bench), "test", written(specs), again))
            for specs in wanted
        ]
        finishes = race(forks, works)
        report(finishes)
        assert {f.outcome for f in finishes} <= {"complete", "stale-plan"}
        assert "complete" in {f.outcome for f in finishes}
        history = bench.stack().history()
        for address in (CHAMPION, Address("registered_model", ("fraud",))):
            lines = [line for apply in history for line in apply.lines if line.address == address]
            assert lines[0].before is None
            for earlier, later in itertools.pairwise(lines):
                assert later.before == earlier.after
            assert bench.live()[address].spec == lines[-1].after
        # whoever succeeded has its turn in the order, and the last one's manifest is what stands
        turns = [apply for apply in history if apply.lines]
        assert len(turns) == begun + sum(f.outcome == "complete" for f in finishes)
        assert bench.stack(wanted[champion(bench) - 1]).plan().changes == ()
