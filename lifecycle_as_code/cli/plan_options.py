"""The options that decide what a plan is about; `plan` and `apply` have them in common."""

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
class Planning:
    """What was asked for."""

    destroy: bool = False
    refresh: bool = True
    refresh_only: bool = False
    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Planning()

    @classmethod
    def of(cls, **said: Any) -> Planning:
        """From the options' values. UsageError where they make no plan together."""
        asked = cls(**said)
        refuse_unknown(asked.allow)
        if asked.refresh_only and (asked.destroy or not asked.refresh):
            raise click.UsageError("--refresh-only goes neither with --destroy nor with --refresh=false")
        return asked

    def plan(self, stack: Stack) -> Plan:
        """The plan."""
        return stack.plan(
            destroy=self.destroy,
            refresh=self.refresh,
            refresh_only=self.refresh_only,
            targets=self.targets,
            excludes=self.excludes,
            allow=self.allow,
        )


def refuse_unknown(guards: tuple[str, ...]) -> None:
    """UsageError where one isn't a guard's name."""
    if not guards:
        return
    # imported here: most often nobody names any
    from ..model.diagnostics import did_you_mean
    from ..model.plan import GUARDS

    for name in guards:
        if name not in GUARDS:
            raise click.UsageError(f"--allow={name}: there is no such guard; {did_you_mean(name, GUARDS)}")


def planning_options(function: F) -> F:
    """The options as parameters of their own; `Planning.of` takes them."""
    for option in (
        allow_option,
        click.option(
            "--exclude",
            "excludes",
            multiple=True,
            metavar="ADDRESS",
            help="Leave this out, and what needs it; an address or a pattern. May be repeated.",
        ),
        click.option(
            "--target",
            "targets",
            multiple=True,
            metavar="ADDRESS",
            help="Plan this alone, and what it needs; an address or a pattern. May be repeated.",
        ),
        click.option(
            "--refresh-only",
            is_flag=True,
            help="Take what changed outside for what was applied; changes nothing but the records.",
        ),
        click.option(
            "--refresh",
            type=bool,
            is_flag=False,
            flag_value="true",
            default=True,
            metavar="BOOL",
            help="`--refresh=false` believes the records instead of asking the cluster.",
        ),
        click.option("--destroy", is_flag=True, help="Delete everything that this stack owns."),
    ):
        function = option(function)
    return function


def allow_option(function: F) -> F:
    """`--allow`, for whatever makes a plan."""
    return click.option(
        "--allow",
        multiple=True,
        metavar="GUARD",
        help="Let a guard through, such as `mass-deletion`; its refusal names it. May be repeated.",
    )(function)


def out_option(function: F) -> F:
    """`--out`, for whatever makes a plan and doesn't apply it."""
    return click.option(
        "-o", "--out", "out", metavar="FILE", help="Save the plan, for `lac apply FILE` to carry out."
    )(function)
