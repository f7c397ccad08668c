"""Whether a caller of one version can call another, by MLflow's schema enforcement (see the package).
Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from ...model.signature import Signature, SignatureChange, SignatureClass
from ...model.text import take_first
from .columns import MalformedError, read_columns, read_parameters
from .findings import Finding
from .inputs import input_findings
from .outputs import output_findings
from .parameters import parameter_findings

MAX_FINDINGS: Final = 100
"""How many findings a change lists, of all and of the breaking ones; the last item counts the rest."""


def compare_signatures(
    before: Signature | None, after: Signature | None, *, was_there: bool, will_be_there: bool
) -> SignatureChange:
    """How a caller of `before` fares with `after`. `was_there`, `will_be_there`: is there a version?"""
    if not (was_there and will_be_there):
        return SignatureChange()
    if before is None or after is None:
        return SignatureChange(SignatureClass.UNKNOWN)
    try:
        # breaking findings come first
        findings = sorted(_findings(before, after), key=lambda finding: not finding.breaks)
    except MalformedError as error:
        return SignatureChange(SignatureClass.UNKNOWN, (f"a signature can't be compared: {error}",))
    breaking = _limit(finding.text for finding in findings if finding.breaks)
    unbroken = SignatureClass.COMPATIBLE if findings else SignatureClass.SAME
    verdict = SignatureClass.BREAKING if breaking else unbroken
    return SignatureChange(verdict, _limit(finding.text for finding in findings), breaking)


def _findings(before: Signature, after: Signature) -> Iterable[Finding]:
    inputs, outputs = (
        [None if part is None else read_columns(part) for part in pair]
        for pair in ((before.inputs, after.inputs), (before.outputs, after.outputs))
    )
    params = [None if part is None else read_parameters(part) for part in (before.params, after.params)]
    return chain(input_findings(*inputs), parameter_findings(*params), output_findings(*outputs))


def _limit(sentences: Iterable[str]) -> tuple[str, ...]:
    texts = tuple(sentences)
    return texts if len(texts) <= MAX_FINDINGS else tuple(take_first(texts, MAX_FINDINGS - 1))
