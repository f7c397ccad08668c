"""Whether a caller of one version can call another. Pure.

The rules are those of MLflow's schema enforcement (`enforcement`), read from the caller's side.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from ...model.signature import Signature, SignatureChange, SignatureClass
from ...model.text import take_first
from .columns import MalformedError, read_columns, read_parameters
from .enforcement import Finding, input_findings, output_findings, parameter_findings

MAX_FINDINGS: Final = 100
"""How many findings a change lists, of all and of the breaking ones; the last item counts the rest."""


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
