"""The options of commands that make a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..model.plan import Plan
    from ..stack import Stack

F = TypeVar("F", bound=Callable[..., Any])


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

    @classmethod
    def of(cls, **values: Any) -> PlanOptions:
        """From the options' values. UsageError where they exclude each other."""
        options = cls(**values)
        refuse_unknown_guards(options.allow)
        if options.refresh_only and (options.destroy or not options.refresh):
            raise click.UsageError("--refresh-only can't be combined with --destroy or --refresh=false")
        return options

    def plan(self, stack: Stack) -> Plan:
        """The plan of `stack`."""
        return stack.plan(
            destroy=self.destroy,
            refresh=self.refresh,
            refresh_only=self.refresh_only,
            targets=self.targets,
            excludes=self.excludes,
            allow=self.allow,
        )


def refuse_unknown_guards(guards: tuple[str, ...]) -> None:
    """UsageError for a name that isn't a guard's."""
    if not guards:
        return
    # imported here: rarely needed
    from ..model.diagnostics import did_you_mean
    from ..model.plan import GUARDS

    for name in guards:
        if name not in GUARDS:
            raise click.UsageError(f"--allow={name}: unknown guard; {did_you_mean(name, GUARDS)}")


def plan_options(function: F) -> F:
    """All options of a plan, as parameters for `PlanOptions.of`."""
    for option in (
        allow_option,
        click.option(
            "--exclude",
            "excludes",
            multiple=True,
            metavar="ADDRESS",
            help="Exclude ADDRESS (or a pattern) and everything that depends on it. May be repeated.",
        ),
        click.option(
            "--target",
            "targets",
            multiple=True,
            metavar="ADDRESS",
            help="Limit the plan to ADDRESS (or a pattern) and its dependencies. May be repeated.",
        ),
        click.option(
            "--refresh-only",
            is_flag=True,
            help="Update lac's records to match live state; changes no resources.",
        ),
        click.option(
            "--refresh",
            type=bool,
            is_flag=False,
            flag_value="true",
            default=True,
            metavar="BOOL",
            help="`--refresh=false` uses lac's records instead of reading live state.",
        ),
        click.option("--destroy", is_flag=True, help="Delete every object that this stack manages."),
    ):
        function = option(function)
    return function


def allow_option(function: F) -> F:
    """`--allow`, for commands that make a plan."""
    return click.option(
        "--allow",
        multiple=True,
        metavar="GUARD",
        help="Override a guard, such as `mass-deletion`; the error names it. May be repeated.",
    )(function)


def out_option(function: F) -> F:
    """`--out`, for commands that make a plan without applying it."""
    return click.option(
        "-o", "--out", "out", metavar="FILE", help="Save the plan to FILE, for `lac apply FILE`."
    )(function)
