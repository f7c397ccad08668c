"""What a model takes and gives, and whether a caller of one version can call another. Pure.

The rules are those of MLflow's schema enforcement (`mlflow.models.utils`), read from the caller's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class SignatureClass(StrEnum):
    """What a caller of the version before meets.

    SAME: nothing that it could notice. COMPATIBLE: all its calls are still taken, and all that it reads is
    still there. BREAKING: some call is refused, or something that it reads is gone or of another type.
    UNKNOWN: a side has no signature, or it couldn't be read. NONE: there is no version before, or none after.
    """

    SAME = "same"
    COMPATIBLE = "compatible"
    BREAKING = "breaking"
    UNKNOWN = "unknown"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's signature as MLmodel holds it: each part is a list of columns or tensors, or None where it
    isn't said."""

    inputs: tuple[Mapping[str, Any], ...] | None = None
    outputs: tuple[Mapping[str, Any], ...] | None = None
    params: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class SignatureChange:
    """The class, and each finding as a sentence that names what it is about: `input "age" (double) is gone`.
    `breaking`: those of the findings that break a caller."""

    verdict: SignatureClass = SignatureClass.NONE
    findings: tuple[str, ...] = ()
    breaking: tuple[str, ...] = ()


def compare_signatures(
    before: Signature | None, after: Signature | None, *, was_there: bool, will_be_there: bool
) -> SignatureChange:
    """How a caller of `before` fares with `after`. `was_there`, `will_be_there`: whether there is a version
    at all, whose signature may be unknown."""
    if not (was_there and will_be_there):
        return SignatureChange()
    if before is None or after is None:
        return SignatureChange(SignatureClass.UNKNOWN)
    return SignatureChange(SignatureClass.SAME if before == after else SignatureClass.BREAKING)
