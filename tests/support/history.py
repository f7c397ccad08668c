"""Applies of one alias, for tests of history."""

from __future__ import annotations

from dataclasses import replace

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.history import Actor, Apply, Line
from lifecycle_as_code.model.spec import Address, Spec

FRAUD = RegisteredModel(name="fraud")
CHAMPION = Address("model_alias", ("fraud", "champion"))


def alias(version: int, name: str = "champion") -> ModelAlias:
    return ModelAlias(model="fraud", alias=name, version=version)


def line(
    action: str, before: Spec | None, after: Spec | None, at_ms: int = 0, *, of: Address | None = None
) -> Line:
    side = after or before
    address = of or (side.address if side else CHAMPION)
    return Line("", 0, "test", address, action, "declared", before, after, at_ms)


def an_apply(number: int, *lines: Line) -> Apply:
    """The number-th, ten seconds after the one before."""
    apply_id = f"{number:08}-of-{number}"
    started = number * 10_000
    numbered = [
        replace(each, apply_id=apply_id, number=n, at_ms=each.at_ms or started + n)
        for n, each in enumerate(lines, 1)
    ]
    return Apply(
        apply_id, "test", "", "apply", started, started + 900, "complete", Actor(), "", tuple(numbered)
    )


MODEL = [FRAUD, *(ModelVersion(model="fraud", version=n, source=f"s3://fraud/{n}") for n in (1, 2))]

STORY = [
    an_apply(1, line("create", None, FRAUD), line("create", None, alias(1))),
    an_apply(2, line("update", alias(1), alias(2)), line("record", None, alias(1, "old"))),
    an_apply(3, line("delete", alias(2), None), line("forget", alias(1, "old"), None)),
    an_apply(4, line("create", None, alias(3))),
]
