"""Desired specs in the form in which they are planned: settled by the stores, then pinned by their kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError, Source
from lifecycle_as_code.model.snapshot import Desired, Live, Observed
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.pinning import resolve

Objects = Mapping[Address, Spec]
Expected = Mapping[Address, Observed]

FRAUD = RegisteredModel(name="fraud")
WRITTEN = ModelVersion(model="fraud", version=1, source="runs:/0123456789abcdef0123456789abcdef/model")
STORED = WRITTEN.model_copy(update={"source": "models:/m-1"})
CHAMPION = ModelAlias(model="fraud", alias="champion", version=1)
MOVED = CHAMPION.model_copy(update={"version": 2})


def desired(*specs: Spec) -> Desired:
    places = {spec.address: Source("models.yaml", line, 1) for line, spec in enumerate(specs, 1)}
    return Desired({spec.address: spec for spec in specs}, places)


def test_without_pins_what_is_desired_is_planned_in_the_stores_form() -> None:
    live = Live(settled={WRITTEN.address: STORED})
    found = resolve(desired(FRAUD, WRITTEN), live, {})
    assert found.objects == {FRAUD.address: FRAUD, WRITTEN.address: STORED}
    assert found.places == desired(FRAUD, WRITTEN).places


def test_a_pin_gets_its_own_specs_and_what_the_stores_will_hold() -> None:
    """Declared wins over live, the stored form over the written one; what was deleted isn't expected."""
    seen: list[Expected] = []

    def pin(mine: Objects, expected: Expected) -> Iterator[tuple[Address, Spec]]:
        seen.append(expected)
        assert mine == {FRAUD.address: FRAUD}
        yield FRAUD.address, FRAUD.model_copy(update={"description": "pinned"})

    buried = ModelVersion(model="fraud", version=9, source="s3://9")
    live = Live(
        {
            CHAMPION.address: Observed(CHAMPION, {"fact": 1}),
            FRAUD.address: Observed(FRAUD, {"created": 1}),
            buried.address: Observed(buried, tombstone=True),
        },
        settled={WRITTEN.address: STORED},
    )
    found = resolve(desired(FRAUD, WRITTEN, MOVED), live, {"registered_model": pin})
    assert found.objects[FRAUD.address].model_dump()["description"] == "pinned"
    assert seen == [
        {
            CHAMPION.address: Observed(MOVED, {"fact": 1}),
            WRITTEN.address: Observed(STORED),
            FRAUD.address: Observed(FRAUD, {"created": 1}),
        }
    ]


def test_a_kind_that_nobody_declared_is_not_asked() -> None:
    def never(*_: object) -> Iterator[tuple[Address, Spec]]:
        raise AssertionError

    assert resolve(desired(FRAUD), Live(), {"serving_endpoint": never}).objects == {FRAUD.address: FRAUD}


def test_everything_that_cannot_be_resolved_is_told_at_once_at_its_place() -> None:
    problem = Diagnostic("no-such-alias", "an alias names nothing", "Nothing.")
    at = Source("models.yaml", 9, 1)
    lost = Diagnostic("source-not-found", "a source can't be resolved", "Nowhere.", at=at)

    def pin(mine: Objects, _: Expected) -> Iterator[tuple[Address, Diagnostic]]:
        for address in mine:
            yield address, problem

    with pytest.raises(LacError) as caught:
        resolve(desired(FRAUD, CHAMPION), Live(diagnostics=(lost,)), {"model_alias": pin})
    assert [(found.code, str(found.at)) for found in caught.value.diagnostics] == [
        ("no-such-alias", "models.yaml:2:1"),
        ("source-not-found", "models.yaml:9:1"),
    ]
