"""Parameters of a prediction (`_enforce_params_schema`). Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from .columns import Parameter, Scalar, cut
from .findings import Finding, name_column, report_removal, report_type
from .inputs import WIDENS, type_findings

WIDENS_PARAMETERS: Final = WIDENS | {("integer", "float"), ("long", "float"), ("long", "double")}
"""Conversions that MLflow makes (`_ALLOWED_CONVERSIONS_FOR_PARAMS`)."""


def parameter_findings(
    before: Sequence[Parameter] | None, after: Sequence[Parameter] | None
) -> Iterator[Finding]:
    """The findings for a caller of `before`. All have defaults, and MLflow drops unknown ones."""
    was, will_be = ({parameter.name: parameter for parameter in side or ()} for side in (before, after))
    for name, parameter in was.items():
        label = name_column("parameter", name)
        if name in will_be:
            yield from _parameter(label, parameter, will_be[name])
        else:
            yield report_removal(label, parameter, is_dropped=True)
    for name, parameter in will_be.items():
        if name not in was:
            yield Finding(f"{name_column('parameter', name)} ({cut(str(parameter))}) was added", breaks=False)


def _parameter(label: str, before: Parameter, after: Parameter) -> Iterator[Finding]:
    match before.type, after.type:
        case _ if before.is_list != after.is_list:
            yield report_type(label, before, after, breaks=True)
        case Scalar(was), Scalar(will_be):
            if was != will_be:
                yield report_type(label, before, after, breaks=(was, will_be) not in WIDENS_PARAMETERS)
        case was_type, type_:
            yield from type_findings(label, was_type, type_)
    was_default, default = _json(before.default), _json(after.default)
    if was_default != default:
        yield Finding(
            f"{label} now has the default {cut(default)} instead of {cut(was_default)}", breaks=False
        )


def _json(value: Any) -> str:
    match value:
        case {"not finite": str() as number} if len(value) == 1:
            value = float(number)
    return json.dumps(value, sort_keys=True, default=str)
