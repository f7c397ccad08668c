"""Plans of every sort through the whole pipeline, on real databases: what is written, and what stays."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, text
from support.bench import Bench, clean, converge
from support.fake_cluster import Paper

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Failed, Finished
from lifecycle_as_code.model.history import find_lines
from lifecycle_as_code.model.plan import Action, Mode, Plan
from lifecycle_as_code.model.snapshot import Claim, Lifecycle, Move
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stack import Stack

FRAUD = RegisteredModel(name="fraud", description="Scores.", tags={"team": "risk"})
FRAUDS = RegisteredModel(name="frauds", description="Scores.", tags={"team": "risk"})
OTHER = RegisteredModel(name="other")
ANALYSTS = Role(name="analysts")
MOVE = Move(FRAUDS.address, FRAUD.address)


def version(model: str, number: int, **fields: Any) -> ModelVersion:
    return ModelVersion(model=model, version=number, source=f"s3://models/{number}", **fields)


def alias(model: str, number: int, name: str = "champion") -> ModelAlias:
    return ModelAlias(model=model, alias=name, version=number)


def grant(model: str, level: Any = "READ", kind: Any = "registered_model") -> Permission:
    return Permission(role="analysts", resource_type=kind, resource=model, level=level)


def family(model: RegisteredModel) -> list[Spec]:
    """A model with all that hangs on it, and another one."""
    name = model.name
    return [
        model,
        version(name, 1),
        version(name, 2, description="Better."),
        alias(name, 1),
        ANALYSTS,
        grant(name),
        OTHER,
    ]


def codes(stack: Stack, **options: Any) -> list[str]:
    with pytest.raises(LacError) as caught:
        stack.plan(**options)
    return [found.code for found in caught.value.diagnostics]


def told(plan: Plan) -> dict[str, tuple[str, str]]:
    return {str(c.address): (str(c.action), c.reason) for c in plan.changes}


def sql(bench: Bench, *statements: str, auth: bool = False) -> None:
    """What somebody does to MLflow's own tables."""
    url = bench.auth_store if auth and bench.auth_store else bench.store
    engine = create_engine(url)
    with engine.begin() as db:
        for statement in statements:
            db.execute(text(statement))
    engine.dispose()


# --- ignore_changes

IGNORED: dict[str, tuple[tuple[str, ...], RegisteredModel, str]] = {
    "a field": (
        ("description",),
        FRAUD,
        "UPDATE registered_models SET description = 'Theirs.' WHERE name = 'fraud'",
    ),
    "a tag": (("tags.team",), FRAUD, "UPDATE registered_model_tags SET value = 'shop' WHERE key = 'team'"),
    "a tag that goes": (("tags.team",), FRAUD, "DELETE FROM registered_model_tags WHERE key = 'team'"),
    "all tags": (
        ("tags",),
        FRAUD,
        "INSERT INTO registered_model_tags (workspace, name, key, value)"
        " VALUES ('default', 'fraud', 'cost', '12')",
    ),
    "all tags, of which one goes": (("tags",), FRAUD, "DELETE FROM registered_model_tags WHERE key = 'team'"),
}


@pytest.mark.any_store
@pytest.mark.parametrize(("fields", "model", "done"), IGNORED.values(), ids=IGNORED)
def test_what_is_ignored_is_given_to_a_new_object_and_then_left_alone(
    bench: Bench, fields: tuple[str, ...], model: RegisteredModel, done: str
) -> None:
    said = {"lifecycles": {model.address: Lifecycle(ignore_changes=fields)}}
    converge(bench.stack([model], **said))
    assert bench.live()[model.address].spec == model
    sql(bench, done)
    theirs = bench.live()[model.address].spec
    assert theirs != model
    assert clean(bench.stack([model], **said))
    # what is declared anew doesn't matter either, and what isn't ignored goes through
    changed = model.model_copy(update={"tags": {**model.tags, "tier": "gold"}})
    expected = {} if "tags" in fields else {"tier": "gold"}
    converge(bench.stack([changed], **said))
    now = bench.live()[model.address].spec
    assert now == theirs.model_copy(update={"tags": {**theirs.tags, **expected}})  # type: ignore[attr-defined]  # it is a model
    assert clean(bench.stack([changed], **said))


def test_what_others_put_beside_ignored_tags_never_becomes_ours(bench: Bench) -> None:
    """Or it would be removed as soon as nothing is ignored any more."""
    said = {"lifecycles": {FRAUD.address: Lifecycle(ignore_changes=("tags",))}}
    converge(bench.stack([FRAUD], **said))
    sql(bench, IGNORED["all tags"][2])
    described = FRAUD.model_copy(update={"description": "Scores payments."})
    converge(bench.stack([described], **said))
    assert clean(bench.stack([described]))
    assert bench.live()[FRAUD.address].spec.tags == {"team": "risk", "cost": "12"}  # type: ignore[attr-defined]  # it is a model


@pytest.mark.any_store
def test_without_its_lifecycle_what_was_ignored_counts_again(bench: Bench) -> None:
    converge(bench.stack([FRAUD], lifecycles={FRAUD.address: Lifecycle(ignore_changes=("description",))}))
    sql(bench, IGNORED["a field"][2])
    assert told(bench.stack([FRAUD]).plan()) == {"registered_model.fraud": ("update", "changed outside")}


@pytest.mark.any_store
def test_an_immutable_field_that_is_ignored_is_no_error(bench: Bench) -> None:
    converge(bench.stack([FRAUD, version("fraud", 1)]))
    elsewhere = version("fraud", 1).model_copy(update={"source": "s3://elsewhere/1"})
    assert codes(bench.stack([FRAUD, elsewhere])) == ["immutable-field"]
    said = {"lifecycles": {elsewhere.address: Lifecycle(ignore_changes=("source",))}}
    assert clean(bench.stack([FRAUD, elsewhere], **said))


# --- prevent_destroy


@pytest.mark.any_store
def test_the_mark_outlives_its_block_and_its_object_s_declaration(bench: Bench) -> None:
    said = {"lifecycles": {FRAUD.address: Lifecycle(prevent_destroy=True)}}
    converge(bench.stack([FRAUD, OTHER], **said))
    assert clean(bench.stack([FRAUD, OTHER]))
    assert codes(bench.stack([OTHER])) == ["protected"]
    assert codes(bench.stack(), destroy=True) == ["protected"]
    assert codes(bench.stack([FRAUD], lifecycles={FRAUD.address: Lifecycle(False)}), destroy=True) == [
        "protected"
    ]


@pytest.mark.any_store
def test_only_false_that_was_applied_takes_the_mark_away(bench: Bench) -> None:
    converge(bench.stack([FRAUD, OTHER], lifecycles={FRAUD.address: Lifecycle(True)}))
    plan, _ = converge(bench.stack([FRAUD, OTHER], lifecycles={FRAUD.address: Lifecycle(False)}))
    assert told(plan) == {"registered_model.fraud": ("record", "no longer protected")}
    converge(bench.stack([OTHER]))
    assert FRAUD.address not in bench.live()


@pytest.mark.any_store
def test_the_flag_lets_a_protected_object_go_and_the_plan_says_so(bench: Bench) -> None:
    converge(bench.stack([FRAUD, OTHER], lifecycles={FRAUD.address: Lifecycle(True)}))
    stack = bench.stack([OTHER])
    plan = stack.plan(allow=["protected"])
    assert [(v.guard, v.detail) for v in plan.allowed] == [
        ("protected", "registered_model.fraud is marked `prevent_destroy`.")
    ]
    list(stack.apply(stack.check_plan(stack.read_plan(stack.save_plan(plan)))))
    assert FRAUD.address not in bench.live()


def test_a_saved_plan_with_what_goes_along_is_carried_out(bench: Bench) -> None:
    converge(bench.stack([FRAUD, OTHER]))
    nobodys(bench, version("fraud", 1), alias("fraud", 1))
    stack = bench.stack([OTHER])
    plan = stack.plan(allow=["model-in-use"])
    assert {v.guard for v in plan.allowed} == {"model-in-use"}
    assert len(plan.changes) == 3
    list(stack.apply(stack.check_plan(stack.read_plan(stack.save_plan(plan)))))
    assert {a.kind for a in bench.live()} == {"registered_model", "experiment"}


@pytest.mark.any_store
def test_a_role_goes_with_the_grants_that_nothing_can_import(bench: Bench) -> None:
    """Dangling ones, types that can't be declared, and one on an id that is another experiment's name."""
    nobodys(bench, Experiment(name="777"), ANALYSTS)
    rows(
        bench,
        [
            ("scorer", "1/judge", "READ"),
            ("mcp_server", "search", "USE"),
            ("registered_model", "gone", "EDIT"),
            ("experiment", "778", "MANAGE"),
            ("experiment", "777", "READ"),
        ],
    )
    taken = bench.stack().import_objects(None)
    assert {str(a) for a in taken.addresses} == {"experiment.777", "role.analysts"}
    assert codes(bench.stack(), destroy=True) == ["still-used"] * 4
    stack = bench.stack()
    plan = stack.plan(destroy=True, allow=["still-granted"])
    assert {name for name, (_, reason) in told(plan).items() if reason == "goes with role.analysts"} == {
        "permission.analysts/scorer/1%2Fjudge",
        "permission.analysts/mcp_server/search",
        "permission.analysts/registered_model/gone",
        "permission.analysts/experiment/778",
    }
    list(stack.apply(plan))
    assert {a.kind for a in bench.live()} == {"experiment"}
    with create_engine(bench.auth_store or "").connect() as db:
        assert db.execute(text("SELECT count(*) FROM role_permissions")).scalar() == 0


def rows(bench: Bench, grants: list[tuple[str, str, str]]) -> None:
    """Grants of the first role as MLflow keeps them."""
    engine = create_engine(bench.auth_store or "")
    with engine.begin() as db:
        role = db.execute(text("SELECT id FROM roles WHERE name = 'analysts'")).scalar()
        for kind, pattern, level in grants:
            db.execute(
                text(
                    "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
                    " VALUES (:role, :kind, :pattern, :level)"
                ),
                {"role": role, "kind": kind, "pattern": pattern, "level": level},
            )
    engine.dispose()


@pytest.mark.any_store
def test_no_import_takes_the_mark_away(bench: Bench) -> None:
    converge(bench.stack([FRAUD, OTHER], lifecycles={FRAUD.address: Lifecycle(True)}))
    bench.stack([FRAUD, OTHER]).import_objects([FRAUD.address])
    assert bench.records()[FRAUD.address].protected
    bench.stack(name="shop").import_objects([FRAUD.address], take_over=True)
    assert bench.records("shop")[FRAUD.address].protected


# --- moved


def moving(bench: Bench, specs: list[Spec] | None = None, **more: Any) -> Stack:
    return bench.stack(family(FRAUD) if specs is None else specs, moves=(MOVE,), **more)


def test_a_rename_keeps_all_that_hangs_on_the_model(bench: Bench) -> None:
    converge(bench.stack([*family(FRAUDS), version("frauds", 3)]))
    converge(bench.stack(family(FRAUDS)))
    sql(
        bench,
        "INSERT INTO users (username, password_hash, is_admin) VALUES ('ann', 'x', false)",
        "INSERT INTO roles (name, workspace) VALUES ('__user_1__', 'default')",
        "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
        " SELECT id, 'registered_model', 'frauds', 'EDIT' FROM roles WHERE name = '__user_1__'",
        auth=True,
    )
    before = bench.live()
    plan, events = converge(moving(bench))
    assert {address: action for address, (action, _) in told(plan).items()} == dict.fromkeys(
        map(
            str,
            (
                FRAUD.address,
                *(version("fraud", n).address for n in (1, 2)),
                alias("fraud", 1).address,
                grant("fraud").address,
            ),
        ),
        "move",
    )
    assert {c.reason for c in plan.changes if c.address == FRAUD.address} == {
        "moved from registered_model.frauds"
    }
    assert [e for e in events if isinstance(e, Finished) and e.complete]
    after = bench.live()
    assert {a.kind for a in after} == {a.kind for a in before}
    assert {found.spec.renamed(FRAUDS.address, FRAUD.address).address for found in before.values()} == {
        *after
    }
    assert all(
        found.spec.renamed(FRAUDS.address, FRAUD.address) in [now.spec for now in after.values()]
        for found in before.values()
        if found.spec.kind != "model_version"
    )
    assert clean(moving(bench))
    assert clean(bench.stack(family(FRAUD)))
    assert {str(a) for a in bench.records()} == {str(spec.address) for spec in family(FRAUD)}
    # the deleted version came along: its number isn't given again
    assert codes(bench.stack([*family(FRAUD), version("fraud", 3)])) == ["cannot-be-made-again"]
    converge(bench.stack([*family(FRAUD), version("fraud", 4)]))
    (lines,) = [
        [(str(line.address), line.action) for line in apply.lines]
        for apply in bench.stack().history()
        if any(line.action == "move" for line in apply.lines)
    ]
    assert ("registered_model.fraud", "move") in lines


def test_after_a_rename_nothing_is_recorded_under_the_former_name(bench: Bench) -> None:
    converge(bench.stack(family(FRAUDS)))
    converge(moving(bench))
    stack = moving(bench)
    assert stack.records_at(2**62) == {
        address: record.spec for address, record in bench.records("test").items()
    }
    (*_, (_, line)) = reversed(find_lines(stack.history(), FRAUDS.address))
    assert (line.action, line.reason, line.after) == ("move", f"moved to {FRAUD.address}", None)
    with pytest.raises(LacError, match="nothing-to-roll-back"):
        stack.rollback(str(FRAUDS.address))


def test_a_second_apply_of_a_rename_does_nothing(bench: Bench) -> None:
    converge(bench.stack(family(FRAUDS)))
    converge(moving(bench))
    plan, _ = converge(moving(bench))
    assert plan.changes == ()


def test_a_rename_goes_with_whatever_else_changes(bench: Bench) -> None:
    three = version("frauds", 3)
    converge(bench.stack([*family(FRAUDS), three]))
    described = FRAUD.model_copy(update={"description": "Scores payments."})
    wanted = [
        described,
        version("fraud", 1),
        version("fraud", 2, description="Best."),
        version("fraud", 4),
        alias("fraud", 4),
        alias("fraud", 2, "before"),
        ANALYSTS,
        grant("fraud", "EDIT"),
        OTHER,
    ]
    plan, _ = converge(moving(bench, wanted))
    assert told(plan) == {
        "registered_model.fraud": ("update", "manifest changed"),
        "model_version.fraud/1": ("move", "moved from model_version.frauds/1"),
        "model_version.fraud/2": ("update", "manifest changed"),
        "model_version.fraud/4": ("create", "declared"),
        "model_alias.fraud/champion": ("update", "manifest changed"),
        "model_alias.fraud/before": ("create", "declared"),
        "permission.analysts/registered_model/fraud": ("update", "manifest changed"),
        "model_version.fraud/3": ("delete", "no longer declared"),
    }
    assert clean(bench.stack(wanted))
    assert {a.key[0] for a in bench.live() if a.kind == "model_version"} == {"fraud"}


def test_a_rename_goes_with_a_change_of_our_record_alone(bench: Bench) -> None:
    """A mark, and what was changed outside to what is declared: the store is renamed all the same."""
    converge(bench.stack([FRAUDS]))
    said = {"lifecycles": {FRAUD.address: Lifecycle(prevent_destroy=True)}}
    plan, _ = converge(moving(bench, [FRAUD], **said))
    assert [(c.action, c.protected) for c in plan.changes] == [(Action.MOVE, True)]
    assert FRAUD.address in bench.live()
    assert bench.records()[FRAUD.address].protected
    assert clean(bench.stack([FRAUD]))


@pytest.mark.any_store
def test_the_mark_goes_along_with_a_rename(bench: Bench) -> None:
    converge(bench.stack([FRAUDS, OTHER], lifecycles={FRAUDS.address: Lifecycle(True)}))
    converge(moving(bench, [FRAUD, OTHER]))
    assert codes(bench.stack([OTHER])) == ["protected"]


def test_an_alias_is_held_since_before_its_model_was_renamed(bench: Bench) -> None:
    def held(model: RegisteredModel, *more: Spec) -> int:
        wanted = [*family(model), *more, alias(FRAUD.name if more else model.name, 1, "next")]
        (found,) = bench.stack(wanted).plan().review.evidence
        assert found.after is not None
        return found.after.since_ms["champion"]

    converge(bench.stack(family(FRAUDS)))
    since = held(FRAUDS)
    converge(moving(bench))
    assert held(FRAUD) == since
    # and back: the first name is a former one, too
    converge(bench.stack(family(FRAUDS), moves=(Move(FRAUD.address, FRAUDS.address),)))
    assert held(FRAUDS) == since
    # what gets a name that is free again has a time of its own
    again = FRAUD, version("fraud", 1), alias("fraud", 1)
    converge(bench.stack([*family(FRAUDS), *again]))
    assert held(FRAUDS, *again) > since


def test_an_experiment_is_renamed_with_its_grants(bench: Bench) -> None:
    before, after = (
        Experiment(name="nightly", description="All."),
        Experiment(name="daily", description="All."),
    )
    rest = [ANALYSTS, OTHER]
    converge(bench.stack([before, grant("nightly", "READ", "experiment"), *rest]))
    number = bench.live()[before.address].facts
    wanted = [after, grant("daily", "READ", "experiment"), *rest]
    plan, _ = converge(bench.stack(wanted, moves=(Move(before.address, after.address),)))
    assert {c.action for c in plan.changes} == {Action.MOVE}
    assert len(plan.changes) == 2
    assert bench.live()[after.address].facts.get("id") == number.get("id")
    assert clean(bench.stack(wanted))


def test_a_rename_is_refused_when_somebody_took_the_name_meanwhile(bench: Bench) -> None:
    converge(bench.stack(family(FRAUDS)))
    stack = moving(bench)
    plan = stack.plan()
    converge(bench.stack([RegisteredModel(name="fraud")], name="shop"))
    with pytest.raises(LacError) as caught:
        list(stack.apply(plan))
    assert [d.code for d in caught.value.diagnostics] == ["stale-plan"]
    assert FRAUDS.address in bench.live()
    assert codes(stack) == ["cannot-move"]


def test_a_rename_is_refused_when_somebody_renamed_the_model_meanwhile(bench: Bench) -> None:
    converge(bench.stack([FRAUDS]))
    stack = moving(bench, [FRAUD])
    plan = stack.plan()
    sql(
        bench,
        "UPDATE registered_models SET description = 'Theirs.' WHERE name = 'frauds'",
    )
    with pytest.raises(LacError, match="Theirs") as caught:
        list(stack.apply(plan))
    assert [d.code for d in caught.value.diagnostics] == ["stale-plan"]
    assert FRAUDS.address in bench.live()


def test_a_saved_plan_with_a_rename_does_what_it_says(bench: Bench) -> None:
    converge(bench.stack(family(FRAUDS)))
    stack = moving(bench)
    plan = stack.plan()
    data = stack.save_plan(plan)
    # it is carried out without the manifests
    bare = bench.stack()
    saved = bare.read_plan(data)
    assert saved.plan == plan
    list(bare.apply(bare.check_plan(saved)))
    assert clean(bench.stack(family(FRAUD)))


def test_what_another_stack_owns_is_not_renamed_along(bench: Bench) -> None:
    converge(bench.stack([FRAUDS, version("frauds", 1)]))
    theirs = alias("frauds", 1, "shop")
    converge(bench.stack([theirs], name="shop"))
    stack = moving(bench, [FRAUD, version("fraud", 1)])
    with pytest.raises(LacError, match="stack `shop`") as caught:
        stack.plan()
    assert [d.code for d in caught.value.diagnostics] == ["cannot-move"]
    assert "lac import --take-over 'model_alias.frauds/shop'" in caught.value.diagnostics[0].hint


@pytest.mark.any_store
def test_only_what_is_ours_can_be_moved(bench: Bench) -> None:
    converge(bench.stack([FRAUDS], name="shop"))
    with pytest.raises(LacError, match="managed by stack `shop`"):
        moving(bench, [FRAUD]).plan()
    bench.stack(name="shop").forget([FRAUDS.address])
    with pytest.raises(LacError, match="lac import 'registered_model"):
        moving(bench, [FRAUD]).plan()


@pytest.mark.any_store
def test_a_block_for_what_never_was_says_nothing(bench: Bench) -> None:
    plan, _ = converge(moving(bench, [FRAUD]))
    assert told(plan) == {"registered_model.fraud": ("create", "declared")}


def test_a_chain_of_renames_ends_at_its_last_name(bench: Bench) -> None:
    converge(bench.stack([FRAUDS]))
    middle = Address("registered_model", ("scorer",))
    chain = (Move(FRAUDS.address, middle), Move(middle, FRAUD.address))
    plan, _ = converge(bench.stack([FRAUD], moves=chain))
    assert [(c.action, c.moved_from) for c in plan.changes] == [(Action.MOVE, FRAUDS.address)]
    assert clean(bench.stack([FRAUD], moves=chain))


@pytest.mark.any_store
def test_two_objects_never_get_one_name(bench: Bench) -> None:
    scorer = RegisteredModel(name="scorer")
    converge(bench.stack([FRAUDS, scorer]))
    chain = (Move(FRAUDS.address, scorer.address), Move(scorer.address, FRAUD.address))
    assert codes(bench.stack([FRAUD], moves=chain)) == ["cannot-move"]


# --- moved, with an endpoint


def endpoint(model: str) -> ServingEndpoint:
    here = ServedEntity(name="champion", entity_name=model, entity_version="@champion")
    return ServingEndpoint.model_validate({"name": "api", "served_entities": (here,), "auth": "none"})


def serving(model: RegisteredModel, champion: int = 1, bad: int = 0) -> list[Spec]:
    name = model.name
    return [
        model,
        *(
            ModelVersion(model=name, version=n, source=f"/{'bad' if n == bad else 'good'}/{n}")
            for n in (1, 2)
        ),
        alias(name, champion),
        endpoint(name),
    ]


def test_an_endpoint_goes_over_to_the_new_name(paper: Paper, served: Bench) -> None:
    converge(served.stack(serving(FRAUDS)))
    plan, events = converge(served.stack(serving(FRAUD), moves=(MOVE,)))
    assert told(plan)["serving_endpoint.api"] == ("update", "manifest changed")
    assert [e for e in events if isinstance(e, Finished) and e.complete]
    assert clean(served.stack(serving(FRAUD)))
    assert len(paper.apps) == 1


@pytest.mark.any_store
def test_an_endpoint_goes_over_to_the_new_name_and_another_version(paper: Paper, served: Bench) -> None:
    converge(served.stack(serving(FRAUDS)))
    converge(served.stack(serving(FRAUD, 2), moves=(MOVE,)))
    assert clean(served.stack(serving(FRAUD, 2)))
    assert len(paper.apps) == 1


@pytest.mark.any_store
def test_a_rename_is_held_back_as_a_whole_when_its_endpoint_fails(paper: Paper, served: Bench) -> None:
    converge(served.stack(serving(FRAUDS, bad=2)))
    before, records = served.live(), served.records()
    stack = served.stack(serving(FRAUD, 2, bad=2), moves=(MOVE,))
    _, events = converge(stack)
    assert [str(e.address) for e in events if isinstance(e, Failed)] == ["serving_endpoint.api"]
    assert served.live().keys() == before.keys()
    assert served.records().keys() == records.keys()
    assert len(paper.apps) == 1
    # and one that works goes through
    converge(served.stack(serving(FRAUD, 1, bad=2), moves=(MOVE,)))
    assert clean(served.stack(serving(FRAUD, 1, bad=2)))


# --- removed


def test_removed_objects_stay_and_are_nobodys(bench: Bench) -> None:
    converge(bench.stack(family(FRAUD)))
    before = bench.live()
    rest: list[Spec] = [ANALYSTS, OTHER]
    plan, _ = converge(bench.stack(rest, removals={FRAUD.address: None}))
    assert {(c.action, c.reason) for c in plan.changes} == {(Action.FORGET, "removed, and kept as it is")}
    assert plan.differences == ()
    assert bench.live() == before
    assert {*bench.records()} == {ANALYSTS.address, OTHER.address}
    assert clean(bench.stack(rest, removals={FRAUD.address: None}))
    assert clean(bench.stack(rest))
    assert set(codes(bench.stack(family(FRAUD)))) == {"not-ours"}


@pytest.mark.any_store
def test_what_was_nested_in_a_removed_object_may_stay_declared_elsewhere(bench: Bench) -> None:
    converge(bench.stack(family(FRAUD)))
    rest: list[Spec] = [ANALYSTS, OTHER, alias("fraud", 1)]
    converge(bench.stack(rest, removals={FRAUD.address: None}))
    assert alias("fraud", 1).address in bench.records()
    assert version("fraud", 1).address not in bench.records()


def test_everything_may_be_removed_at_once(bench: Bench) -> None:
    converge(bench.stack([FRAUD, OTHER]))
    converge(bench.stack(removals={FRAUD.address: None, OTHER.address: None}))
    assert bench.records() == {}
    assert {FRAUD.address, OTHER.address} <= bench.live().keys()


# --- import blocks


def nobodys(bench: Bench, *specs: Spec) -> None:
    converge(bench.stack(specs, name="gone"))
    bench.stack(name="gone").forget([spec.address for spec in specs])


@pytest.mark.any_store
def test_an_equal_object_is_only_recorded(bench: Bench) -> None:
    nobodys(bench, FRAUD)
    said = {"imports": {FRAUD.address: None}}
    plan, _ = converge(bench.stack([FRAUD], **said))
    assert told(plan) == {"registered_model.fraud": ("record", "imported")}
    assert clean(bench.stack([FRAUD], **said))
    assert clean(bench.stack([FRAUD]))


def test_an_object_that_differs_is_updated_at_once(bench: Bench) -> None:
    nobodys(bench, FRAUD)
    wanted = RegisteredModel(name="fraud", description="Ours.", tags={"tier": "gold"})
    said = {"imports": {FRAUD.address: None}}
    plan, _ = converge(bench.stack([wanted], **said))
    assert told(plan) == {"registered_model.fraud": ("update", "imported")}
    # a tag that others set is left alone
    assert bench.live()[FRAUD.address].spec.tags == {"team": "risk", "tier": "gold"}  # type: ignore[attr-defined]  # it is a model
    assert clean(bench.stack([wanted], **said))


@pytest.mark.any_store
def test_what_cannot_be_imported_is_told(bench: Bench) -> None:
    said = {"imports": {FRAUD.address: None}}
    assert codes(bench.stack([FRAUD], **said)) == ["nothing-to-import"]
    converge(bench.stack([FRAUD], name="shop"))
    with pytest.raises(LacError, match="managed by stack `shop`") as caught:
        bench.stack([FRAUD], **said).plan()
    assert [d.code for d in caught.value.diagnostics] == ["owned-elsewhere"]


@pytest.mark.any_store
def test_an_imported_version_may_not_differ_where_nothing_can_be_changed(bench: Bench) -> None:
    nobodys(bench, FRAUD, version("fraud", 1))
    elsewhere = version("fraud", 1).model_copy(update={"source": "s3://elsewhere/1"})
    both = {FRAUD.address: None, elsewhere.address: None}
    assert codes(bench.stack([FRAUD, elsewhere], imports=both)) == ["immutable-field"]
    assert clean_after(bench.stack([FRAUD, version("fraud", 1)], imports=both))


def clean_after(stack: Stack) -> bool:
    converge(stack)
    return clean(stack)


# --- plans in part


def part(plan: Plan) -> set[str]:
    return {str(c.address) for c in plan.changes}


TARGETS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "one": ({"targets": ["registered_model.other"]}, {"registered_model.other"}),
    "with what it needs": (
        {"targets": ["model_alias.fraud/champion"]},
        {"registered_model.fraud", "model_version.fraud/1", "model_alias.fraud/champion"},
    ),
    "a pattern": (
        {"targets": ["model_version.*"]},
        {"registered_model.fraud", "model_version.fraud/1", "model_version.fraud/2"},
    ),
    "all but one": (
        {"excludes": ["registered_model.fraud"]},
        {"registered_model.other", "role.analysts"},
    ),
    "all but a pattern": (
        {"excludes": ["model_version.*/2", "permission.*"]},
        {
            *("registered_model.fraud", "model_version.fraud/1", "model_alias.fraud/champion"),
            *("registered_model.other", "role.analysts"),
        },
    ),
    "both": (
        {"targets": ["model_*"], "excludes": ["model_alias.*"]},
        {"registered_model.fraud", "model_version.fraud/1", "model_version.fraud/2"},
    ),
}


@pytest.mark.any_store
@pytest.mark.parametrize(("options", "expected"), TARGETS.values(), ids=TARGETS)
def test_a_plan_in_part_is_about_its_targets_and_what_they_need(
    bench: Bench, options: dict[str, Any], expected: set[str]
) -> None:
    stack = bench.stack(family(FRAUD))
    plan = stack.plan(**options)
    assert part(plan) == expected
    assert [d.code for d in plan.diagnostics] == ["plan-in-part"]
    list(stack.apply(plan))
    assert {str(a) for a in bench.live() if a.kind != "experiment"} == expected
    # the rest comes with the next whole one
    converge(stack)
    assert clean(stack)


@pytest.mark.any_store
def test_a_new_version_needs_those_before_it(bench: Bench) -> None:
    """MLflow counts them."""
    converge(bench.stack([FRAUD, version("fraud", 1)]))
    stack = bench.stack([FRAUD, *(version("fraud", n) for n in (1, 2, 3, 4)), alias("fraud", 3)])
    two, three, four = (f"model_version.fraud/{n}" for n in (2, 3, 4))
    assert part(stack.plan(targets=["model_alias.*"])) == {two, three, "model_alias.fraud/champion"}
    assert part(stack.plan(excludes=[three])) == {two}
    assert part(stack.plan(excludes=[four])) == {two, three, "model_alias.fraud/champion"}


@pytest.mark.any_store
def test_what_is_excluded_and_as_it_should_be_holds_nothing_back(bench: Bench) -> None:
    converge(bench.stack([FRAUD, version("fraud", 1)]))
    stack = bench.stack([FRAUD, version("fraud", 1, description="Better.")])
    assert part(stack.plan(excludes=["registered_model.fraud"])) == {"model_version.fraud/1"}


@pytest.mark.any_store
@pytest.mark.parametrize("option", ["targets", "excludes"])
@pytest.mark.parametrize("pattern", ["registered_model.fruad", "role.*x*", "nonsense"])
def test_a_pattern_that_means_nothing_is_an_error(bench: Bench, option: str, pattern: str) -> None:
    assert codes(bench.stack(family(FRAUD)), **{option: [pattern]}) == ["no-such-target"]


@pytest.mark.any_store
def test_a_deletion_in_part_takes_what_depends_on_it(bench: Bench) -> None:
    converge(bench.stack(family(FRAUD)))
    stack = bench.stack([ANALYSTS])
    plan = stack.plan(targets=["model_version.fraud/1"])
    assert part(plan) == {"model_version.fraud/1", "model_alias.fraud/champion"}
    assert "registered_model.fraud" not in part(stack.plan(excludes=["model_version.fraud/2"]))


@pytest.mark.any_store
def test_problems_elsewhere_do_not_stop_a_plan_in_part(bench: Bench) -> None:
    nobodys(bench, RegisteredModel(name="theirs"))
    broken: list[Spec] = [
        alias("nowhere", 1),
        RegisteredModel(name="theirs"),
        ModelVersion(model="fraud", version=1, source="runs:/0123456789abcdef0123456789abcdef/model"),
        endpoint("fraud"),
    ]
    moves = (Move(OTHER.address, Address("registered_model", ("undeclared",))),)
    stack = bench.stack([FRAUD, OTHER, *broken], moves=moves)
    assert part(stack.plan(targets=["registered_model.fraud"])) == {"registered_model.fraud"}
    with pytest.raises(LacError):
        stack.plan()


@pytest.mark.any_store
def test_problems_of_what_a_target_needs_do(bench: Bench) -> None:
    nobodys(bench, FRAUD)
    stack = bench.stack([FRAUD, version("fraud", 1), OTHER])
    assert codes(stack, targets=["model_version.fraud/1"]) == ["not-ours"]
    assert part(stack.plan(targets=["registered_model.other"])) == {"registered_model.other"}


@pytest.mark.any_store
def test_a_rename_in_part_is_whole_or_isnt(bench: Bench) -> None:
    converge(bench.stack(family(FRAUDS)))
    described = FRAUD.model_copy(update={"description": "Scores payments."})
    changed = [described, *family(FRAUD)[1:-1], OTHER.model_copy(update={"description": "Other."})]
    stack = moving(bench, changed)
    whole = part(stack.plan()) - {"registered_model.other"}
    assert len(whole) == 5
    for target in sorted(whole):
        assert part(stack.plan(targets=[target])) == whole
        assert part(stack.plan(excludes=[target])) == {"registered_model.other"}
    list(stack.apply(stack.plan(targets=["model_version.fraud/1"])))
    assert part(stack.plan()) == {"registered_model.other"}


@pytest.mark.any_store
def test_an_endpoint_and_the_alias_that_it_follows_go_together(paper: Paper, served: Bench) -> None:
    converge(served.stack(serving(FRAUD)))
    stack = served.stack([*serving(FRAUD, 2), OTHER])
    both = {"model_alias.fraud/champion", "serving_endpoint.api"}
    assert part(stack.plan(targets=["serving_endpoint.api"])) == both
    assert part(stack.plan(targets=["model_alias.*"])) == both
    assert part(stack.plan(excludes=["serving_endpoint.api"])) == {"registered_model.other"}
    assert part(stack.plan(excludes=["model_alias.*"])) == {"registered_model.other"}
    list(stack.apply(stack.plan(targets=["serving_endpoint.*"])))
    assert part(stack.plan()) == {"registered_model.other"}
    assert len(paper.apps) == 1


# --- refresh-only


def test_refreshing_takes_over_what_changed_outside(bench: Bench) -> None:
    stack = bench.stack(family(FRAUD))
    converge(stack)
    sql(bench, IGNORED["a field"][2], "DELETE FROM registered_model_aliases")
    before = bench.live()
    plan = stack.plan(refresh_only=True)
    assert plan.mode is Mode.REFRESH_ONLY
    assert told(plan) == {
        "registered_model.fraud": ("record", "changed outside"),
        "model_alias.fraud/champion": ("forget", "deleted outside"),
    }
    assert [(f.name, f.before, f.after) for c in plan.changes for f in c.fields] == [
        ("description", "Scores.", "Theirs.")
    ]
    assert len(plan.differences) == 2
    list(stack.apply(plan))
    assert bench.live() == before
    assert stack.plan(refresh_only=True).changes == ()
    assert not stack.drift().exists
    assert told(stack.plan()) == {
        "registered_model.fraud": ("update", "manifest changed"),
        "model_alias.fraud/champion": ("create", "declared"),
    }


@pytest.mark.any_store
def test_refreshing_in_part_looks_at_its_targets_alone(bench: Bench) -> None:
    stack = bench.stack(family(FRAUD))
    converge(stack)
    sql(bench, IGNORED["a field"][2], "DELETE FROM registered_model_aliases")
    assert part(stack.plan(refresh_only=True, targets=["model_alias.*"])) == {"model_alias.fraud/champion"}
    assert part(stack.plan(refresh_only=True, excludes=["model_alias.*"])) == {"registered_model.fraud"}
    assert codes(stack, refresh_only=True, targets=["role.nobody"]) == ["no-such-target"]


def test_a_saved_refresh_does_what_it_says_and_goes_stale(bench: Bench) -> None:
    stack = bench.stack(family(FRAUD))
    converge(stack)
    sql(bench, IGNORED["a field"][2])
    data, late = (stack.save_plan(stack.plan(refresh_only=True)) for _ in range(2))
    list(stack.apply(stack.check_plan(stack.read_plan(data))))
    assert not stack.drift().exists
    sql(bench, IGNORED["a field"][2].replace("Theirs", "Again theirs"))
    with pytest.raises(LacError) as caught:
        stack.check_plan(stack.read_plan(late))
    assert [d.code for d in caught.value.diagnostics] == ["stale-plan"]


@pytest.mark.any_store
def test_refreshing_leaves_protection_and_health_alone(paper: Paper, served: Bench) -> None:
    stack = served.stack(serving(FRAUD), lifecycles={FRAUD.address: Lifecycle(True)})
    converge(stack)
    paper.sick.add("lac.api")
    assert stack.plan(refresh_only=True).changes == ()
    sql(served, IGNORED["a field"][2])
    list(stack.apply(stack.plan(refresh_only=True)))
    assert served.records()[FRAUD.address].protected
    assert [c.reason for c in stack.drift().outside.changes] == ["endpoint degraded"]


# --- claimed scopes


def test_a_claimed_scope_spares_what_other_stacks_granted(bench: Bench) -> None:
    converge(bench.stack([FRAUD, ANALYSTS]))
    converge(bench.stack([grant("fraud")], name="shop"))
    scopes = {FRAUD.address: Claim(exclusive=True)}
    assert clean(bench.stack([FRAUD, ANALYSTS], scopes=scopes))
    bench.stack(name="shop").forget([grant("fraud").address])
    plan = bench.stack([FRAUD, ANALYSTS], scopes=scopes).plan()
    assert [c.reason for c in plan.changes] == ["granted outside"]
