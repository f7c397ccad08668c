"""Which part of a plan a selection leaves, and what a selection that matches nothing says."""

from __future__ import annotations

import pytest
from support.snapshots import CHAMPION, FRAUD, OTHER, VERSION, plan

from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.model.snapshot import Desired
from lifecycle_as_code.planning.targeting import (
    IN_PART,
    Selection,
    check_patterns,
    cut_desired,
    is_selected,
    matches,
    select_addresses,
    warn_of_part,
)

SECOND = ModelVersion(model="fraud", version=2, source="s3://models/2")
SPECS = (FRAUD, VERSION, SECOND, CHAMPION, OTHER)
MODEL, V1, V2, ALIAS, ELSE = map(str, (spec.address for spec in SPECS))


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        pytest.param(Selection((ALIAS,)), {MODEL, V1, ALIAS}, id="what a target needs comes along"),
        pytest.param(Selection((V2,)), {MODEL, V1, V2}, id="versions are numbered in order"),
        pytest.param(Selection(("*.fraud*",)), {MODEL, V1, V2, ALIAS}, id="a pattern"),
        pytest.param(Selection((), (V1,)), {MODEL, ELSE}, id="what needs an excluded one goes too"),
        pytest.param(Selection((ALIAS,), (MODEL,)), set(), id="an exclusion counts more than a target"),
        pytest.param(Selection(), {MODEL, V1, V2, ALIAS, ELSE}, id="everything"),
    ],
)
def test_a_selection_keeps_what_can_be_applied_alone(selection: Selection, expected: set[str]) -> None:
    changes = plan(SPECS).changes
    assert {str(address) for address in select_addresses(changes, selection)} == expected


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        pytest.param(Selection((ALIAS,)), {MODEL, V1, ALIAS}, id="a target"),
        pytest.param(Selection((ELSE,)), {ELSE}, id="a model alone"),
        pytest.param(Selection((), (V1,)), {MODEL, V2, ALIAS, ELSE}, id="an exclusion"),
        pytest.param(Selection(), {MODEL, V1, V2, ALIAS, ELSE}, id="everything"),
    ],
)
def test_only_what_a_selection_concerns_is_resolved(selection: Selection, expected: set[str]) -> None:
    """The rest may be unresolvable. What waits for an excluded object is left to the plan."""
    desired = Desired({spec.address: spec for spec in SPECS})
    assert {str(address) for address in cut_desired(desired, selection).objects} == expected


def test_a_dependency_is_not_selected_itself() -> None:
    selection = Selection((ALIAS,), ("*.other",))
    assert is_selected(CHAMPION.address, selection)
    assert not is_selected(FRAUD.address, selection)
    assert not is_selected(OTHER.address, Selection((), ("*.other",)))


def test_an_address_with_wildcards_matches_itself() -> None:
    odd = FRAUD.model_copy(update={"name": "a[b]"}).address
    assert matches(odd, ("registered_model.a[b]",))
    assert not matches(FRAUD.address, ("registered_model.FRAUD",))


def test_a_pattern_that_matches_nothing_is_named_with_a_guess() -> None:
    known = [spec.address for spec in SPECS]
    (problem,) = check_patterns(Selection((MODEL,), ("registered_model.frad",)), known)
    assert (problem.code, problem.severity) == ("no-such-target", "error")
    assert "--exclude registered_model.frad" in problem.detail
    assert MODEL in problem.hint


def test_a_partial_plan_warns_with_its_options() -> None:
    warning = warn_of_part(Selection((MODEL,), (V1,)))
    assert (warning.code, warning.severity) == (IN_PART, "warning")
    assert f"--target={MODEL} --exclude={V1}" in warning.detail
