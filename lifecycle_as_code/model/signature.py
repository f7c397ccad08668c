"""What a model takes and gives, and how the signatures of two versions compare. Pure data: `review/signature`
reads and compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class SignatureClass(StrEnum):
    """What a caller of the version before meets.

    SAME: nothing that it could notice. COMPATIBLE: all its calls are still taken, whole, and all that it
    reads is still there. BREAKING: some call is refused or misread, or a part of it is dropped; or something
    that it reads is gone or of another type. UNKNOWN: a side has no signature, or it couldn't be read. NONE:
    there is no version before, or none after.
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
