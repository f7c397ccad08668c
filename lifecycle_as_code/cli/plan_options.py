"""The options of commands that make a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..model.plan import Plan
    from ..stack import Stack


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """The values of `plan_options`."""

    destroy: bool = False
    refresh: bool = True
    refresh_only: bool = False
    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != PlanOptions()

    def plan(self, stack: Stack) -> Plan:
        """The plan of `stack`."""
        return stack.plan(**asdict(self))


def _check_guards(ctx: click.Context, _: click.Parameter, guards: tuple[str, ...]) -> tuple[str, ...]:
    if guards:
        # imported here: rarely needed
        from ..model.diagnostics import did_you_mean
        from ..model.plan import GUARDS

        for name in guards:
            if name not in GUARDS:
                raise click.UsageError(f"--allow={name}: unknown guard; {did_you_mean(name, GUARDS)}", ctx)
    return guards


allow_option = click.option(
    "--allow",
    multiple=True,
    callback=_check_guards,
    metavar="GUARD",
    help="Override a guard, such as `mass-deletion`; the error names it. May be repeated.",
)
"""For commands that make a plan."""

out_option = click.option("-o", "--out", metavar="FILE", help="Save the plan to FILE, for `lac apply FILE`.")
"""For commands that make a plan without applying it."""


def plan_options(function: Callable[..., int]) -> Callable[..., int]:
    """All options of a plan; the command gets them as `request`. UsageError where they exclude each other."""

    @click.option("--destroy", is_flag=True, help="Delete every object that this stack manages.")
    @click.option(
        "--refresh",
        type=bool,
        is_flag=False,
        flag_value="true",
        default=True,
        metavar="BOOL",
        help="`--refresh=false` uses lac's records instead of reading live state.",
    )
    @click.option(
        "--refresh-only",
        is_flag=True,
        help="Update lac's records to match live state; changes no resources.",
    )
    @click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="ADDRESS",
        help="Limit the plan to ADDRESS (or a pattern) and its dependencies. May be repeated.",
    )
    @click.option(
        "--exclude",
        "excludes",
        multiple=True,
        metavar="ADDRESS",
        help="Exclude ADDRESS (or a pattern) and everything that depends on it. May be repeated.",
    )
    @allow_option
    @wraps(function)
    def command(*args: Any, **values: Any) -> int:
        request = PlanOptions(**{field.name: values.pop(field.name) for field in fields(PlanOptions)})
        if request.refresh_only and (request.destroy or not request.refresh):
            raise click.UsageError("--refresh-only can't be combined with --destroy or --refresh=false")
        return function(*args, request=request, **values)

    return command
