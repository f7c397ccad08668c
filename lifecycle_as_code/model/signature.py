"""The inputs and outputs of a model, and the result of comparing two versions'. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class SignatureClass(StrEnum):
    """What changes for a caller of the version before. SAME: nothing. COMPATIBLE: all its calls are still
    accepted in full, and every output that it reads still exists. BREAKING: some call is refused, misread or
    partly dropped, or an output that it reads is gone or has another type. UNKNOWN: a side has no readable
    signature. NONE: there is no version before, or none after."""

    SAME = "same"
    COMPATIBLE = "compatible"
    BREAKING = "breaking"
    UNKNOWN = "unknown"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's signature as in MLmodel: each part is a list of columns or tensors; None without it."""

    inputs: tuple[Mapping[str, Any], ...] | None = None
    outputs: tuple[Mapping[str, Any], ...] | None = None
    params: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class SignatureChange:
    """The class, and each finding as a sentence: `input "age" (double) is gone`. `breaking`: those that
    break."""

    verdict: SignatureClass = SignatureClass.NONE
    findings: tuple[str, ...] = ()
    breaking: tuple[str, ...] = ()
