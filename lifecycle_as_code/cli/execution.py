"""What `apply` and `destroy` share: the plan, the question, the work, the end."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .display import show
from .options import Options
from .output import ask, interactive, note, paint, say
from .stacks import opened
from .streams import abandoned

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ..model.events import Event
    from ..model.plan import Plan
    from ..stack import Stack

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """A duration as Terraform writes it: `10s`, `3m`, `1h30m`, `500ms`, `0`."""
    if value != "0" and not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h))+", value):
        raise click.BadParameter(f"`{value}` is not a duration such as 10s, 3m or 1h30m", ctx, param)
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", value))


def carrying_options(function: F) -> F:
    """The options of a command that carries a plan out."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print events as JSON, one a line."),
        click.option(
            "--lock-timeout",
            callback=_seconds,
            default="0",
            metavar="DURATION",
            help="How long to wait for another apply to end, such as 10s or 3m.",
        ),
        click.option("--no-input", is_flag=True, help="Never ask."),
        click.option("--auto-approve", is_flag=True, help="Don't ask for approval."),
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Carrying:
    """What those options said."""

    auto_approve: bool = False
    no_input: bool = False
    lock_timeout: float = 0.0
    as_json: bool = False


def carry_out(options: Options, make: Callable[[Stack], Plan], carrying: Carrying) -> int:
    """Plan, show, ask, apply. 0 when everything in the plan was done, 1 otherwise."""
    if not carrying.auto_approve and (carrying.as_json or not interactive(no_input=carrying.no_input)):
        raise _nobody_to_ask(as_json=carrying.as_json)
    stack = opened(options)
    plan = make(stack)
    _show(plan, options, carrying)
    if not plan.changes:
        return _nothing(carrying)
    if plan.review.denied:
        raise _denied(plan)
    if plan.differences and not carrying.auto_approve and not _approved(plan):
        note("Nothing was applied.")
        return 1
    return _work(stack, plan, options, carrying)


def carry_out_saved(options: Options, file: str, carrying: Carrying, *, same_manifests: bool) -> int:
    """Do what a saved plan says: it was looked at before. `same_manifests`: only where the manifests are
    those that it was made from. Their policies are asked in either case, where they can be read."""
    from .plan_files import from_file

    stack, saved = from_file(options, file, manifests=True)
    changed = stack.manifests_changed(saved)
    if changed and same_manifests:
        raise _other_manifests()
    plan = stack.check_saved(saved)
    if changed:
        note("The manifests have changed since the plan was made; it is carried out as it was reviewed.")
    _show(plan, options, carrying)
    return _work(stack, plan, options, carrying) if plan.changes else _nothing(carrying)


def _show(plan: Plan, options: Options, carrying: Carrying) -> None:
    if not carrying.as_json:
        show(plan, options, None)
        return
    from ..views import json

    say(json.planned(plan))


def _nothing(carrying: Carrying) -> int:
    from ..model.events import Finished
    from ..views import json

    if carrying.as_json:
        say(json.event(Finished("", 0, 0, 0)))
    return 0


def _approved(plan: Plan) -> bool:
    from ..views.terminal import plan as human

    deed = "Delete all of this" if plan.destroy else "Apply these changes"
    return ask(f"\n{human.place(plan)}. {deed}? Only `yes` counts:") == "yes"


def _work(stack: Stack, plan: Plan, options: Options, carrying: Carrying) -> int:
    from ..model.diagnostics import LacError
    from ..model.events import Finished

    told: list[Event] = []
    as_json = carrying.as_json
    if not as_json:
        say("")
    try:
        _follow(stack, plan, options, told, lock_timeout=carrying.lock_timeout, as_json=as_json)
    except KeyboardInterrupt:
        raise _aborted() from None
    except LacError:
        if told and not as_json:
            _close(told, options, complete=False)
        raise
    complete = bool(told) and isinstance(told[-1], Finished) and told[-1].complete
    options.applied = complete
    if not as_json:
        _close(told, options, complete=complete)
    return 0 if complete else 1


def _follow(
    stack: Stack, plan: Plan, options: Options, told: list[Event], *, lock_timeout: float, as_json: bool
) -> None:
    """Carry the plan out, and show each event as it comes; `told` keeps them."""
    from .progress import reporter
    from .signals import stopping

    with stopping() as stop, reporter(options, as_json=as_json) as report:
        work = _ending(stack.apply(plan, lock_timeout=lock_timeout, stop=stop.asked), told)
        # closed at once, also when the second Ctrl-C comes between two events: locks are released then
        with closing(work) as events:
            for event in events:
                told.append(event)
                report(event)
                if abandoned():
                    # nobody reads any more: no reason to leave the effect at hand half done
                    stop.now()
                    report = _silence


def _ending(events: Iterator[Event], told: list[Event]) -> Generator[Event, None, None]:
    """The events, with an end of their own where a wait (for a lock, a database, Ray) was called off."""
    from ..engine.background import Stopped
    from ..model.events import Done, Finished

    try:
        yield from events
    except Stopped:
        yield Finished("", sum(isinstance(event, Done) for event in told), 0, 0, stopped=True)


def _silence(event: Event) -> None:
    """For when nobody reads."""


def _close(told: list[Event], options: Options, *, complete: bool) -> None:
    from ..views.terminal import events as view

    if complete:
        say(f"\n{view.closing(told, paint(options))}")
    else:
        note(f"\n{view.closing(told, paint(options, sys.stderr))}")


def _nobody_to_ask(*, as_json: bool) -> Exception:
    from ..model.diagnostics import Diagnostic, LacError

    why = "`--json` leaves no room for a question." if as_json else "There is no terminal to ask on."
    return LacError(
        Diagnostic(
            "approval-needed",
            "the plan has to be approved",
            why,
            hint="look at `lac plan`, then add `--auto-approve`",
        )
    )


def _denied(plan: Plan) -> Exception:
    from ..model.diagnostics import LacError
    from ..review.policy.judge import denials

    return LacError(*denials(plan))


def _other_manifests() -> Exception:
    from ..model.diagnostics import Diagnostic, LacError

    return LacError(
        Diagnostic(
            "manifests-changed",
            "the manifests aren't those that the plan was made from",
            "A file was changed, came or went since then, and --same-manifests allows none of it.",
            hint="run `lac plan -o FILE` again, and review the new plan",
        )
    )


def _aborted() -> Exception:
    from ..model.diagnostics import Diagnostic, LacError

    return LacError(
        Diagnostic(
            "aborted",
            "the apply was aborted",
            "The effect at hand may be half done; it is recorded as begun.",
            hint="`lac plan` shows what is left, and `lac apply` does it",
        )
    )
