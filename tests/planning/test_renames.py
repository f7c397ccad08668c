"""Which `moved:` blocks can't be, and what each says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.snapshots import CHAMPION, FRAUD, GRANT, HIDDEN, OTHER, VERSION, record

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import Source
from lifecycle_as_code.model.snapshot import Desired, Live, Move, Observed, Recorded
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.renames import Renaming, apply_moves, check_moves

SPECS = {name: kind.spec for name, kind in KINDS.items()}
SCORER = RegisteredModel(name="scorer")
LAST = RegisteredModel(name="last")
EXPERIMENT = Address("experiment", ("fraud",))


def block(before: Spec | Address, after: Spec | Address, line: int = 1) -> Move:
    ends = [end if isinstance(end, Address) else end.address for end in (before, after)]
    return Move(ends[0], ends[1], Source("m.yaml", line, 3))


def settled(
    blocks: Sequence[Move],
    declared: Sequence[Spec],
    ours: Sequence[Spec] = (FRAUD,),
    live: Sequence[Spec | Observed] = (FRAUD,),
    others: Sequence[Spec] = (),
) -> Renaming:
    seen = [found if isinstance(found, Observed) else Observed(found) for found in live]
    return apply_moves(
        Desired({spec.address: spec for spec in declared}, moves=tuple(blocks)),
        Recorded({spec.address: record(spec) for spec in ours}, {spec.address: "shop" for spec in others}),
        Live({found.spec.address: found for found in seen}),
        SPECS,
    )


IMPOSSIBLE: dict[str, tuple[Sequence[Move], Sequence[Spec], str]] = {
    "another kind": ([block(FRAUD, EXPERIMENT)], [], "the kind of an object can't change"),
    "a kind that keeps its names": (
        [block(VERSION, VERSION.model_copy(update={"version": 2}))],
        [],
        "the store can't rename objects of this kind (only registered_model, experiment)",
    ),
    "to itself": ([block(FRAUD, FRAUD)], [FRAUD], "both addresses are the same"),
    "both ends declared": (
        [block(FRAUD, SCORER)],
        [FRAUD, SCORER],
        "registered_model.fraud is still declared",
    ),
    "neither end declared": ([block(FRAUD, SCORER)], [], "registered_model.scorer isn't declared"),
    "a circle": (
        [block(FRAUD, SCORER), block(SCORER, FRAUD, 2)],
        [],
        "the blocks form a cycle",
    ),
    "one object twice": (
        [block(FRAUD, SCORER), block(FRAUD, LAST, 2)],
        [SCORER, LAST],
        "m.yaml:2:3 moves one of the two as well",
    ),
    "one name twice": (
        [block(FRAUD, SCORER), block(OTHER, SCORER, 2)],
        [SCORER],
        "m.yaml:2:3 moves one of the two as well",
    ),
}


@pytest.mark.parametrize(("blocks", "declared", "why"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_moved_is_told_at_its_block(
    blocks: Sequence[Move], declared: Sequence[Spec], why: str
) -> None:
    found = settled(blocks, declared)
    assert {problem.code for _, problem in found.problems} == {"cannot-move"}
    assert [problem.at for _, problem in found.problems] == [move.at for move in blocks]
    assert why in found.problems[0][1].detail
    assert found.pairs == ()
    assert found.recorded.ours.keys() == {FRAUD.address}
    desired = Desired({spec.address: spec for spec in declared}, moves=tuple(blocks))
    assert [*check_moves(desired, SPECS)] == [problem for _, problem in found.problems]


TAKEN: dict[str, tuple[Sequence[Spec | Observed], Sequence[Spec], Sequence[Spec], str]] = {
    "the name is taken": ([FRAUD, SCORER], [FRAUD], [], "registered_model.scorer exists already"),
    "a deleted object keeps the name": (
        [FRAUD, Observed(SCORER, tombstone=True)],
        [FRAUD],
        [],
        "registered_model.scorer exists already",
    ),
    "nobody's": ([FRAUD], [], [], "registered_model.fraud isn't managed here"),
    "another stack's": ([FRAUD], [], [FRAUD], "registered_model.fraud is managed by stack `shop`"),
    "another stack's alias": (
        [FRAUD, VERSION, CHAMPION],
        [FRAUD, VERSION],
        [CHAMPION],
        "model_alias.fraud/champion, which belongs to stack `shop`, would be renamed with it",
    ),
}


@pytest.mark.parametrize(("live", "ours", "others", "why"), TAKEN.values(), ids=TAKEN)
def test_what_is_there_may_be_in_the_way(
    live: Sequence[Spec | Observed], ours: Sequence[Spec], others: Sequence[Spec], why: str
) -> None:
    ((_, problem),) = settled([block(FRAUD, SCORER)], [SCORER], ours, live, others).problems
    assert why in problem.detail
    assert problem.hint


def test_two_objects_of_a_chain_never_get_one_name() -> None:
    chain = [block(FRAUD, SCORER), block(SCORER, LAST, 2)]
    found = settled(chain, [LAST], [FRAUD, SCORER], [FRAUD, SCORER])
    ((move, problem),) = found.problems
    assert move == chain[1]
    assert "registered_model.fraud would get the same name" in problem.detail


def test_all_that_hangs_on_it_has_the_new_name_and_says_the_one_until_then() -> None:
    hidden = Observed(HIDDEN, hidden="cyd")
    found = settled(
        [block(FRAUD, SCORER)],
        [SCORER],
        [FRAUD, VERSION, GRANT, OTHER],
        [FRAUD, VERSION, CHAMPION, GRANT, hidden, OTHER],
    )
    assert found.problems == ()
    assert found.pairs == ((FRAUD.address, SCORER.address),)
    assert {str(a) for a in found.live.objects} == {
        *("registered_model.scorer", "model_version.scorer/1", "model_alias.scorer/champion"),
        *("permission.analysts/registered_model/scorer", "permission.__user_3__/registered_model/scorer"),
        "registered_model.other",
    }
    assert {str(a) for a in found.recorded.ours} == {
        *("registered_model.scorer", "model_version.scorer/1", "registered_model.other"),
        "permission.analysts/registered_model/scorer",
    }
    assert len(found.origins) == 5


def test_a_block_whose_object_has_moved_says_nothing_more() -> None:
    found = settled([block(FRAUD, SCORER)], [SCORER], [SCORER], [SCORER])
    assert (found.pairs, found.problems) == ((), ())
