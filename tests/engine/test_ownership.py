"""Taking live objects over: what is recorded, what is written, and what is left where it is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support.bench import Bench, clean, converge

from lifecycle_as_code.engine.ownership import Import, make_import
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.snapshot import Desired, Live, Observed, Record, Recorded
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stores.state import lock

SPECS = {name: kind.spec for name, kind in KINDS.items()}

FRAUD = RegisteredModel(name="fraud", tags={"team": "risk"})
VERSION = ModelVersion(model="fraud", version=1, source="s3://models/1")
CHAMPION = ModelAlias(model="fraud", alias="champion", version=1)
ANALYSTS = Role(name="analysts", members=("ann",))
GRANT = Permission(role="analysts", resource_type="registered_model", resource="fraud", level="READ")
HIDDEN = Permission.model_construct(
    role="__user_3__", resource_type="registered_model", resource="fraud", level="EDIT"
)
LONG = RegisteredModel.model_construct(name="x" * 300, description="", tags={})


def take(
    addresses: list[Address] | None,
    *live: Spec | Observed,
    desired: tuple[Spec, ...] = (),
    ours: tuple[Spec, ...] = (),
    others: dict[Address, str] | None = None,
) -> Import:
    seen = [found if isinstance(found, Observed) else Observed(found) for found in live]
    return make_import(
        addresses,
        Desired({spec.address: spec for spec in desired}),
        Recorded({spec.address: Record(spec.address, spec.store, spec) for spec in ours}, others or {}),
        Live({found.spec.address: found for found in seen}, frozenset({Address("user", ("ann",))})),
        SPECS,
    )


def test_everything_that_nobody_owns_is_recorded_as_it_is_and_written() -> None:
    taken = take(None, FRAUD, VERSION, CHAMPION, ANALYSTS, GRANT)
    assert set(taken.addresses) == {s.address for s in (FRAUD, VERSION, CHAMPION, ANALYSTS, GRANT)}
    assert {record.address: record.spec for record in taken.records} == {
        spec.address: spec for spec in (FRAUD, VERSION, CHAMPION, ANALYSTS, GRANT)
    }
    assert yaml.safe_load(taken.yaml) == {
        "registered_models": [
            {
                "name": "fraud",
                "tags": {"team": "risk"},
                "versions": [{"version": 1, "source": "s3://models/1"}],
                "aliases": {"champion": 1},
            }
        ],
        "roles": [{"name": "analysts", "members": ["ann"]}],
        "permissions": [
            {"role": "analysts", "resource_type": "registered_model", "resource": "fraud", "level": "READ"}
        ],
    }


LEFT: dict[str, dict[str, Any]] = {
    "ours": {"live": [FRAUD], "ours": (FRAUD,)},
    "another stack's": {"live": [FRAUD], "others": {FRAUD.address: "shop"}},
    "deleted": {"live": [Observed(FRAUD, tombstone=True)]},
    "a single user's": {"live": [Observed(HIDDEN, hidden="cyd")]},
}


@pytest.mark.parametrize("world", LEFT.values(), ids=LEFT)
def test_everything_does_not_mean(world: dict[str, Any]) -> None:
    world = {**world}
    live = world.pop("live")
    assert take(None, *live, **world) == Import((), (), "")


SKIPPED: dict[str, tuple[list[Spec], str]] = {
    "what can't be declared": ([LONG], "cannot-be-declared"),
    "what refers to nothing": ([CHAMPION], "dangling"),
}


@pytest.mark.parametrize(("live", "code"), SKIPPED.values(), ids=SKIPPED)
def test_what_cannot_be_taken_over_is_left_with_a_warning(live: list[Spec], code: str) -> None:
    taken = take(None, *live)
    assert taken.addresses == ()
    assert {found.code for found in taken.skipped} == {code}
    assert {found.severity for found in taken.skipped} == {"warning"}


NUL = RegisteredModel.model_construct(name="fraud", description="", tags={"team": "risk", "bad": "\0"})
TWIN = RegisteredModel.model_construct(name="fra\u200bud", description="", tags={})
OF_TWIN = ModelVersion(model="fra\u200bud", version=7, source="s3://models/7")


@pytest.mark.parametrize("addresses", [None, [NUL.address]], ids=["everything", "by name"])
def test_a_tag_that_cannot_be_declared_is_left_and_the_rest_taken(addresses: list[Address] | None) -> None:
    taken = take(addresses, NUL)
    assert [record.spec for record in taken.records] == [FRAUD]
    assert [(d.severity, d.detail) for d in taken.skipped] == [
        ("warning", "registered_model.fraud, tags.bad: The text contains a NUL character.")
    ]


@pytest.mark.parametrize("desired", [(), (FRAUD,)], ids=["imported too", "declared"])
def test_a_name_that_looks_like_another_is_left_with_all_that_refers_to_it(desired: tuple[Spec, ...]) -> None:
    taken = take(None, OF_TWIN, TWIN, FRAUD, desired=desired, ours=desired)
    assert taken.addresses == (() if desired else (FRAUD.address,))
    assert [d.detail for d in taken.skipped] == [
        f"{OF_TWIN.address}: {TWIN.address} is skipped.",
        f"{TWIN.address} looks like {FRAUD.address}.",
    ]


def test_one_that_cannot_be_declared_is_found_among_many() -> None:
    bad = Role.model_construct(name="bad", description="", members=("ann", "nul\0"))
    many: list[Spec] = [RegisteredModel(name=f"m{n}", description="{{ x }}" * n) for n in range(40)]
    users = frozenset({Address("user", ("ann",)), Address("user", ("nul\0",))})
    live = Live({spec.address: Observed(spec) for spec in (bad, *many)}, users)
    taken = make_import(None, Desired(), Recorded(), live, SPECS)
    assert set(taken.addresses) == {spec.address for spec in many}
    assert [d.detail for d in taken.skipped] == ["role.bad: The text contains a NUL character."]


def test_what_a_block_removes_from_the_stack_is_not_imported_again() -> None:
    """Or the manifests would contradict themselves."""
    live = Live({FRAUD.address: Observed(FRAUD)})
    taken = make_import(None, Desired(removals={FRAUD.address: None}), Recorded(), live, SPECS)
    assert (taken.addresses, [d.code for d in taken.skipped]) == ((), ["contradiction"])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nowhere": ({"live": []}, "nothing-to-import"),
    "deleted": ({"live": [Observed(FRAUD, tombstone=True)]}, "nothing-to-import"),
    "another stack's": ({"live": [FRAUD], "others": {FRAUD.address: "shop"}}, "owned-elsewhere"),
    "what can't be declared": ({"live": [LONG], "addresses": [LONG.address]}, "cannot-be-declared"),
    "what looks like another": (
        {"live": [TWIN], "addresses": [TWIN.address], "desired": (FRAUD,)},
        "look-alike",
    ),
    "what refers to nothing": ({"live": [CHAMPION], "addresses": [CHAMPION.address]}, "dangling"),
}


@pytest.mark.parametrize(("world", "code"), REFUSED.values(), ids=REFUSED)
def test_an_address_that_cannot_be_taken_over_is_refused(world: dict[str, Any], code: str) -> None:
    world = {**world}
    live = world.pop("live")
    with pytest.raises(LacError) as caught:
        take(world.pop("addresses", [FRAUD.address]), *live, **world)
    assert [found.code for found in caught.value.diagnostics] == [code]


def test_what_is_declared_already_is_recorded_and_not_written() -> None:
    taken = take([FRAUD.address], FRAUD, desired=(FRAUD,))
    assert [record.spec for record in taken.records] == [FRAUD]
    assert taken.yaml == ""


def test_mlflows_own_tags_stay_mlflows() -> None:
    tagged = FRAUD.model_copy(update={"tags": {"team": "risk", "mlflow.note": "x"}})
    taken = take(None, tagged)
    assert [record.spec for record in taken.records] == [FRAUD]


def test_of_what_is_declared_only_the_declared_keys_become_ours() -> None:
    """Recorded whole, the next apply would remove what others have written there."""
    tagged = FRAUD.model_copy(update={"tags": {"team": "shop", "seen_by": "audit"}})
    taken = take([FRAUD.address], tagged, desired=(FRAUD,))
    assert [record.spec for record in taken.records] == [FRAUD.model_copy(update={"tags": {"team": "shop"}})]


# --- on real databases

OTHER = RegisteredModel(name="other")


def test_an_object_is_taken_over_and_both_histories_say_so(bench: Bench) -> None:
    converge(bench.stack([FRAUD, OTHER], name="risk"))
    shop = bench.stack([FRAUD], name="shop")
    with pytest.raises(LacError, match="stack `risk`") as caught:
        shop.import_objects([FRAUD.address])
    assert [d.code for d in caught.value.diagnostics] == ["owned-elsewhere"]
    taken = shop.import_objects([FRAUD.address], take_over=True)
    assert taken.former == {FRAUD.address: "risk"}
    assert clean(shop)

    def last(name: str) -> tuple[str, str]:
        line = [line for apply in bench.stack(name=name).history(FRAUD.address) for line in apply.lines][-1]
        return line.action, line.reason

    assert last("shop") == ("record", "taken over from stack risk")
    assert last("risk") == ("forget", "taken over by stack shop")
    with pytest.raises(LacError, match="managed by stack `shop`") as caught:
        bench.stack([FRAUD, OTHER], name="risk").plan()
    assert "declare it in one stack only" in caught.value.diagnostics[0].hint
    assert "lac import --take-over 'registered_model.fraud'" in caught.value.diagnostics[0].hint
    # it may just stop declaring it: nothing is deleted
    assert clean(bench.stack([OTHER], name="risk"))


def test_nothing_is_taken_from_a_stack_that_is_at_work(bench: Bench) -> None:
    risk = bench.stack([FRAUD], name="risk")
    converge(risk)
    store = risk._connections.ledger().registry
    with lock.hold(store, "risk", "an-apply"), pytest.raises(LacError) as caught:
        bench.stack(name="shop").import_objects([FRAUD.address], take_over=True)
    assert [d.code for d in caught.value.diagnostics] == ["locked"]
    assert FRAUD.address in bench.records("risk")
