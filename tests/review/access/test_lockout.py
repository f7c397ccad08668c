"""Who may MANAGE what before and after a plan, in worlds made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.permission import Permission, PermissionKind
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.diagnostics import Diagnostic, Source
from lifecycle_as_code.model.plan import Action, Change
from lifecycle_as_code.model.snapshot import Live, Observed, Recorded
from lifecycle_as_code.model.spec import Address, Spec, Store
from lifecycle_as_code.planning.guards import PlanContext

MODEL = "registered_model fraud"


@dataclass(frozen=True)
class Rules:
    """Roles with their members, and grants as `role type name LEVEL`."""

    roles: Mapping[str, str] = field(default_factory=dict)
    grants: tuple[str, ...] = ()

    @property
    def specs(self) -> dict[Address, Spec]:
        made: list[Spec] = [Role(name=name, members=tuple(m.split())) for name, m in self.roles.items()]
        made += [permission(*grant.split()) for grant in self.grants]
        return {spec.address: spec for spec in made}


def permission(role: str, resource_type: str, resource: str, level: str) -> Permission:
    return Permission.model_construct(role=role, resource_type=resource_type, resource=resource, level=level)


def rules(*grants: str, **roles: str) -> Rules:
    return Rules(roles, grants)


HIDDEN = {"__user_1__": "ann", "__user_9__": "__user_9__"}
"""Whose own grants these roles hold; user 9 is gone, and goes by the role's name."""
THERE = [RegisteredModel(name="fraud"), RegisteredModel(name="churn"), Experiment(name="nightly")]


def between(before: Rules, after: Rules, *, gone: Iterable[Spec] = (), **more: Any) -> PlanContext:
    """The world of the plan from `before` to `after`, in which `gone` is deleted as well."""
    sides = before.specs, after.specs
    changes = {a: change(a, sides[0].get(a), sides[1].get(a)) for a in {**sides[0], **sides[1]}}
    changes |= {spec.address: change(spec.address, spec, None) for spec in gone}
    live = {spec.address: Observed(spec) for spec in THERE}
    live |= {a: Observed(spec, hidden=HIDDEN.get(str(a.key[0]), "")) for a, spec in sides[0].items()}
    done = {a: c for a, c in changes.items() if c.before != c.after}
    return PlanContext(
        sides[1], Recorded(), Live(live, frozenset({Address("prompt", ("ask",))})), done, {}, **more
    )


def change(address: Address, before: Spec | None, after: Spec | None) -> Change:
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    return Change(address, Store.AUTH, action, "", before, after)


losses = PermissionKind().check


def told(found: Iterable[Diagnostic]) -> list[str]:
    return [f"{d.guard}: {' | '.join(d.detail.splitlines())}" for d in found]


OWNED = rules(f"owners {MODEL} MANAGE", owners="ann bob")
LOST = "last-manage: No user would have MANAGE on registered_model `fraud` any more:"
GRANT = "permission.owners/registered_model/fraud"

BARRED = rules(f"owners {MODEL} MANAGE", f"more {MODEL} MANAGE", "no registered_model * DENY")
DENIED = {"owners": "ann", "more": "bob", "no": "bob"}

LOST_BY_ALL: dict[str, tuple[Rules, Rules, str]] = {
    "the grant is revoked": (
        OWNED,
        rules(owners="ann bob"),
        f"`ann` loses it: {GRANT} is revoked | `bob` loses it: {GRANT} is revoked",
    ),
    "the grant is lowered": (
        rules(f"owners {MODEL} MANAGE", owners="ann"),
        rules(f"owners {MODEL} EDIT", owners="ann"),
        f"`ann` loses it: {GRANT} becomes EDIT",
    ),
    "the grant becomes DENY": (
        rules(f"owners {MODEL} MANAGE", owners="ann"),
        rules(f"owners {MODEL} DENY", owners="ann"),
        f"`ann` loses it: {GRANT} becomes DENY",
    ),
    "the last members leave the role": (
        OWNED,
        rules(f"owners {MODEL} MANAGE", owners=""),
        "`ann` loses it: role.owners loses this member | `bob` loses it: role.owners loses this member",
    ),
    "the role is deleted with its grants": (
        rules(f"owners {MODEL} MANAGE", owners="ann"),
        rules(),
        f"`ann` loses it: {GRANT} is revoked; role.owners is deleted",
    ),
    "a user's own grant is revoked": (
        rules(f"__user_1__ {MODEL} MANAGE"),
        rules(),
        "`ann` loses it: permission.__user_1__/registered_model/fraud is revoked",
    ),
    "another role denies it": (
        rules(f"owners {MODEL} MANAGE", owners="ann", barred="ann"),
        rules(f"owners {MODEL} MANAGE", "barred registered_model * DENY", owners="ann", barred="ann"),
        "`ann` loses it: permission.barred/registered_model/* denies it",
    ),
    "the manager joins a role that is denied it": (
        rules(f"owners {MODEL} MANAGE", f"barred {MODEL} DENY", owners="ann", barred=""),
        rules(f"owners {MODEL} MANAGE", f"barred {MODEL} DENY", owners="ann", barred="ann"),
        "`ann` loses it: permission.barred/registered_model/fraud denies it",
    ),
    "who had it otherwise loses that too": (
        rules(f"owners {MODEL} MANAGE", "admins workspace * MANAGE", owners="ann", admins="bob"),
        rules(owners="ann", admins="bob"),
        f"`ann` loses it: {GRANT} is revoked | `bob` loses it: permission.admins/workspace/* is revoked",
    ),
    "others have it and are denied it": (
        Rules(DENIED, BARRED.grants),
        Rules(DENIED, BARRED.grants[1:]),
        f"`ann` loses it: {GRANT} is revoked",
    ),
    "others may MANAGE something else, or less": (
        rules(f"owners {MODEL} MANAGE", "more prompt * MANAGE", owners="ann", more="bob"),
        rules("more prompt * MANAGE", "more registered_model fraud USE", owners="ann", more="bob"),
        f"`ann` loses it: {GRANT} is revoked",
    ),
}


@pytest.mark.parametrize(("before", "after", "why"), LOST_BY_ALL.values(), ids=LOST_BY_ALL)
def test_that_nobody_is_left_is_told_with_who_loses_it_and_how(before: Rules, after: Rules, why: str) -> None:
    assert told(losses(between(before, after))) == [f"{LOST} | {why}"]


def test_names_stay_on_their_line_and_many_are_told_in_part() -> None:
    people = [f"user{number:02}" for number in range(24)]
    (grant,) = OWNED.grants
    before, after = permission(*grant.split()), Role(name="owners", members=("zoe\n`ann` keeps it", *people))
    live = {s.address: Observed(s) for s in (*THERE, before, after)}
    changes = {before.address: change(before.address, before, None)}
    (text,) = told(losses(PlanContext({}, Recorded(), Live(live), changes, {})))
    assert text.endswith(f"`user19` loses it: {GRANT} is revoked | and 5 more")
    live[after.address] = Observed(Role(name="owners", members=after.members[-1:]))
    (text,) = told(losses(PlanContext({}, Recorded(), Live(live), changes, {})))
    assert text == f"{LOST} | `zoe `ann` keeps it` loses it: {GRANT} is revoked"


LEFT_TO_SOMEBODY: dict[str, tuple[Rules, Rules]] = {
    "nothing is changed": (OWNED, OWNED),
    "one of two leaves": (OWNED, rules(f"owners {MODEL} MANAGE", owners="bob")),
    "another role gets it": (
        OWNED,
        rules(f"heirs {MODEL} MANAGE", owners="ann bob", heirs="cyd"),
    ),
    "a role has all of the type": (
        rules(f"owners {MODEL} MANAGE", "all registered_model * MANAGE", owners="ann", all="bob"),
        rules("all registered_model * MANAGE", owners="ann", all="bob"),
    ),
    "a role has the workspace": (
        rules(f"owners {MODEL} MANAGE", "all workspace * MANAGE", owners="ann", all="bob"),
        rules("all workspace * MANAGE", owners="ann", all="bob"),
    ),
    "the workspace is above DENY": (
        rules(f"owners {MODEL} MANAGE", "all workspace * MANAGE", owners="ann", all="ann"),
        rules(f"owners {MODEL} DENY", "all workspace * MANAGE", owners="ann", all="ann"),
    ),
    "DENY is of another type": (
        rules(f"owners {MODEL} MANAGE", owners="ann"),
        rules(f"owners {MODEL} MANAGE", "owners prompt * DENY", owners="ann"),
    ),
    "nobody had it: the role was empty": (
        rules(f"owners {MODEL} MANAGE", owners=""),
        rules(owners=""),
    ),
    "nobody had it: it was denied": (
        rules(f"owners {MODEL} MANAGE", f"owners2 {MODEL} DENY", owners="ann", owners2="ann"),
        rules(f"owners2 {MODEL} DENY", owners="ann", owners2="ann"),
    ),
    "nobody had it: the user is gone": (
        rules(f"__user_9__ {MODEL} MANAGE"),
        rules(),
    ),
    "nobody had it on just this": (
        rules("all registered_model * MANAGE", all="ann"),
        rules(all="ann"),
    ),
    "less than MANAGE": (
        rules(f"owners {MODEL} EDIT", owners="ann"),
        rules(owners="ann"),
    ),
    "the grant is on nothing": (
        rules("owners registered_model nowhere MANAGE", owners="ann"),
        rules(owners="ann"),
    ),
}


@pytest.mark.parametrize(("before", "after"), LEFT_TO_SOMEBODY.values(), ids=LEFT_TO_SOMEBODY)
def test_a_plan_after_which_somebody_is_left_raises_nothing(before: Rules, after: Rules) -> None:
    assert told(losses(between(before, after))) == []


def test_what_is_deleted_needs_nobody() -> None:
    assert not told(losses(between(OWNED, rules(owners="ann bob"), gone=THERE[:1])))
    assert told(losses(between(OWNED, rules(owners="ann bob"), gone=THERE[1:])))


def test_every_resource_is_told_by_itself_whatever_its_type() -> None:
    names = ["experiment nightly", "prompt ask", "registered_model churn", MODEL]
    before = rules(*(f"owners {name} MANAGE" for name in names), owners="ann")
    found = told(losses(between(before, rules(f"owners {MODEL} MANAGE", owners="ann"))))
    assert [text.split("MANAGE on ")[1].split(" any")[0] for text in found] == [
        "experiment `nightly`",
        "prompt `ask`",
        "registered_model `churn`",
    ]


def test_a_plan_that_changes_no_grant_and_no_role_looks_at_nothing() -> None:
    class Untouchable(Mapping[Address, Observed]):
        def fail(self, *_: object) -> Any:
            raise AssertionError("was looked at")

        __getitem__ = __iter__ = __len__ = fail

    fraud = THERE[0]
    changes = {fraud.address: change(fraud.address, None, fraud)}
    world = PlanContext({}, Recorded(), Live(Untouchable()), changes, {}, principal="ann")
    assert not told(losses(world))


SHARED = rules(f"owners {MODEL} MANAGE", f"more {MODEL} MANAGE", owners="ann", more="bob")
SELF = "own-manage: User `ann`, who applies this plan, would lose MANAGE on"

OWN: dict[str, tuple[Rules, Rules, list[str]]] = {
    "by a revoked grant": (
        SHARED,
        rules(f"more {MODEL} MANAGE", owners="ann", more="bob"),
        [f"{SELF} registered_model `fraud`: | `ann` loses it: {GRANT} is revoked"],
    ),
    "by leaving a role, of all that it had": (
        rules("owners registered_model * MANAGE", f"owners {MODEL} MANAGE", owners="ann bob"),
        rules("owners registered_model * MANAGE", f"owners {MODEL} MANAGE", owners="bob"),
        [
            f"{SELF} every registered_model: | `ann` loses it: role.owners loses this member",
            f"{SELF} registered_model `fraud`: | `ann` loses it: role.owners loses this member",
        ],
    ),
    "of all of a type, and not of each": (
        rules("owners registered_model * MANAGE", f"more {MODEL} MANAGE", owners="ann", more="bob"),
        rules(f"more {MODEL} MANAGE", owners="ann", more="bob"),
        [f"{SELF} every registered_model: | `ann` loses it: permission.owners/registered_model/* is revoked"],
    ),
    "of the workspace": (
        rules("owners workspace * MANAGE", owners="ann"),
        rules("owners workspace * USE", owners="ann"),
        [f"{SELF} the workspace: | `ann` loses it: permission.owners/workspace/* becomes USE"],
    ),
    "by DENY on one": (
        rules("owners registered_model * MANAGE", owners="ann bob", barred="ann"),
        rules("owners registered_model * MANAGE", f"barred {MODEL} DENY", owners="ann bob", barred="ann"),
        [
            f"{SELF} registered_model `fraud`: | "
            "`ann` loses it: permission.barred/registered_model/fraud denies it"
        ],
    ),
    "by DENY on one that nobody was granted by name": (
        rules("owners registered_model * MANAGE", owners="ann", barred="ann"),
        rules("owners registered_model * MANAGE", f"barred {MODEL} DENY", owners="ann", barred="ann"),
        [
            f"{SELF} registered_model `fraud`: | "
            "`ann` loses it: permission.barred/registered_model/fraud denies it"
        ],
    ),
    "not where it is had in another way": (
        rules(f"owners {MODEL} MANAGE", f"more {MODEL} MANAGE", owners="ann", more="ann"),
        rules(f"more {MODEL} MANAGE", owners="ann", more="ann"),
        [],
    ),
    "not where it is another who loses it": (SHARED, rules(f"owners {MODEL} MANAGE", owners="ann"), []),
    "once where nobody is left": (
        rules(f"owners {MODEL} MANAGE", owners="ann"),
        rules(owners="ann"),
        [f"{LOST} | `ann` loses it: {GRANT} is revoked"],
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), OWN.values(), ids=OWN)
def test_whoever_applies_is_told_what_they_lose(before: Rules, after: Rules, expected: list[str]) -> None:
    assert told(losses(between(before, after, principal="ann"))) == expected


def test_who_applies_is_not_always_known() -> None:
    after = rules(f"more {MODEL} MANAGE", owners="ann", more="bob")
    assert not told(losses(between(SHARED, after)))
    assert not told(losses(between(SHARED, after, principal="zoe")))


def test_what_was_read_beyond_the_wanted_counts() -> None:
    """Roles and grants that no manifest names: the kinds tell of them as facts of the store."""
    world = between(OWNED, rules(owners="ann bob"))
    assert told(losses(world))
    facts = {
        "members": {"admins": ("cyd",)},
        "grants_on_all": {Address("permission", ("admins", "workspace", "*")): "MANAGE"},
    }
    live = Live(world.live.objects, world.live.referents, facts=facts)
    assert not told(losses(PlanContext(world.desired, world.recorded, live, world.changes, {})))


def test_a_loss_stands_where_the_manifest_makes_it_and_names_its_flag() -> None:
    at = Source("roles.yaml", 3, 5)
    before, after = OWNED, rules(f"owners {MODEL} MANAGE", owners="")
    world = between(before, after)
    places = {Address("role", ("owners",)): at}
    (found,) = PermissionKind().check(
        PlanContext(world.desired, Recorded(), world.live, world.changes, places)
    )
    assert (found.code, found.guard, found.severity, found.at) == ("last-manage", "last-manage", "error", at)
    assert "--allow=last-manage" in found.hint
