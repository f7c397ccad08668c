"""What a model takes and gives, and whether a caller of one version can call another. Pure.

The rules are those of MLflow's schema enforcement (`enforcement`), read from the caller's side.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, Final

from ..review.signature import Finding, input_findings, output_findings, parameter_findings
from ..review.signature.columns import MalformedError, read_columns, read_parameters
from .wording import take_first

MAX_FINDINGS: Final = 100
"""How many findings are told, of all and of the breaking ones; what is left out is counted."""

MAX_DEPTH: Final = 128
"""How many levels a part may have, of what nothing reads too: a saved plan holds it, and has more levels."""


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


def parse_signature(data: Mapping[str, Any]) -> Signature:
    """MLmodel's `signature`, whose parts are JSON texts. MalformedError, which is a ValueError, says for
    people what MLflow couldn't read in it either."""
    signature = Signature(*(_part(data, name) for name in ("inputs", "outputs", "params")))
    _check(signature)
    return signature


def _part(data: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], ...] | None:
    text = data.get(name)
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise MalformedError(f"its {name} are no text")
    try:
        items = json.loads(text, object_pairs_hook=_once)
    except MalformedError:
        raise
    except RecursionError:
        raise MalformedError(f"its {name} are nested too deeply") from None
    except ValueError:
        # not the parser's own words: they can repeat the text
        raise MalformedError(f"its {name} are no JSON") from None
    if not isinstance(items, list):
        raise MalformedError(f"its {name} are no list")
    if _is_deep(items, MAX_DEPTH):
        raise MalformedError(f"its {name} are nested too deeply")
    return tuple(items)


def _is_deep(item: Any, limit: int) -> bool:
    inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return not limit or any(_is_deep(part, limit - 1) for part in inner)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise MalformedError("a key is given twice in it")
    return found


def _check(signature: Signature) -> None:
    for name, read in (("inputs", read_columns), ("outputs", read_columns), ("params", read_parameters)):
        part = getattr(signature, name)
        try:
            if part is not None:
                read(part)
        except MalformedError as error:
            raise MalformedError(f"its {name} can't be read: {error}") from None


def compare_signatures(
    before: Signature | None, after: Signature | None, *, was_there: bool, will_be_there: bool
) -> SignatureChange:
    """How a caller of `before` fares with `after`. `was_there`, `will_be_there`: whether there is a version
    at all, whose signature may be unknown."""
    if not (was_there and will_be_there):
        return SignatureChange()
    if before is None or after is None:
        return SignatureChange(SignatureClass.UNKNOWN)
    try:
        # what breaks a caller is told first
        findings = sorted(_findings(before, after), key=lambda finding: not finding.breaks)
    except MalformedError as error:
        return SignatureChange(SignatureClass.UNKNOWN, (f"a signature can't be compared: {error}",))
    breaking = _told(finding.text for finding in findings if finding.breaks)
    verdict = (
        SignatureClass.BREAKING
        if breaking
        else SignatureClass.COMPATIBLE
        if findings
        else SignatureClass.SAME
    )
    return SignatureChange(verdict, _told(finding.text for finding in findings), breaking)


def _findings(before: Signature, after: Signature) -> Iterable[Finding]:
    inputs, outputs = (
        [None if part is None else read_columns(part) for part in pair]
        for pair in ((before.inputs, after.inputs), (before.outputs, after.outputs))
    )
    params = [None if part is None else read_parameters(part) for part in (before.params, after.params)]
    return chain(input_findings(*inputs), parameter_findings(*params), output_findings(*outputs))


def _told(sentences: Iterable[str]) -> tuple[str, ...]:
    found = tuple(sentences)
    if len(found) <= MAX_FINDINGS:
        return found
    return tuple(take_first(found, MAX_FINDINGS - 1))
