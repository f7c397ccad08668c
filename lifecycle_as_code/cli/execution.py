"""The execution of a plan by `apply` and `destroy`: show it, ask, apply it, report the outcome."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ..model.diagnostics import LacError
from .display import show
from .options import Options
from .output import confirm, failure, is_interactive, note, paint, say
from .stacks import open_plan, open_stack
from .streams import is_abandoned

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ..model.events import Event
    from ..model.plan import Plan
    from ..stack import Stack

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """The values of `apply_options`."""

    auto_approve: bool
    no_input: bool
    lock_timeout: float
    as_json: bool


def parse_duration(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Seconds of a duration in Terraform's notation, and days: `10s`, `3m`, `1h30m`, `500ms`, `30d`, `0`."""
    if value != "0" and not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h|d))+", value):
        raise click.BadParameter(f"`{value}` is not a duration such as 10s, 3m, 1h30m or 30d", ctx, param)
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h|d)", value))


def apply_options(function: Callable[..., int]) -> Callable[..., int]:
    """The options of a command that applies a plan; the command gets them as `apply`."""

    @click.option("--auto-approve", is_flag=True, help="Skip the question for approval.")
    @click.option("--no-input", is_flag=True, help="Fail instead of asking for approval.")
    @click.option(
        "--lock-timeout",
        callback=parse_duration,
        default="0",
        metavar="DURATION",
        help="How long to wait for the stack's lock, such as 10s or 3m.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print events as JSON, one per line.")
    @wraps(function)
    def command(
        *args: Any, auto_approve: bool, no_input: bool, lock_timeout: float, as_json: bool, **values: Any
    ) -> int:
        apply = ApplyOptions(auto_approve, no_input, lock_timeout, as_json)
        return function(*args, apply=apply, **values)

    return command


def apply_new_plan(options: Options, make_plan: Callable[[Stack], Plan], apply: ApplyOptions) -> int:
    """Plan, show, ask, apply. 0 when everything in the plan was applied, otherwise 1."""
    from ..review.policy.judge import list_denials
    from ..views.summary import describe_stack

    if not apply.auto_approve and (apply.as_json or apply.no_input or not is_interactive()):
        detail = "`--json` can't ask a question." if apply.as_json else "There is no terminal to ask on."
        hint = "review `lac plan`, then add `--auto-approve`"
        raise failure("approval-needed", "the plan needs approval", detail, hint)
    stack = open_stack(options)
    plan = make_plan(stack)
    _show(plan, options, apply)
    if not plan.changes:
        return _finish_without_changes(apply)
    if plan.review.denied:
        raise LacError(*list_denials(plan))
    question = "Delete all of these objects?" if plan.destroy else "Apply these changes?"
    is_approved = apply.auto_approve or not plan.differences
    if not is_approved and not confirm(f"\n{describe_stack(plan)}. {question}"):
        note("Nothing was applied.")
        return 1
    return _apply(stack, plan, options, apply)


def apply_saved_plan(options: Options, file: str, apply: ApplyOptions, *, same_manifests: bool) -> int:
    """Apply a saved plan without asking: it was reviewed. Today's policies are checked, too, where the
    manifests can be read. `same_manifests`: LacError where they have changed since the plan."""
    stack, file_plan = open_plan(options, file, manifests=True)
    differs = stack.manifests_differ(file_plan)
    if differs and same_manifests:
        raise failure(
            "manifests-changed",
            "the manifests have changed since the plan was made",
            "--same-manifests refuses a plan when a file was changed, added or removed.",
            "run `lac plan -o FILE` again, and review the new plan",
        )
    plan = stack.check_plan(file_plan)
    if differs:
        note("The manifests have changed since the plan was made; the plan is applied as it was reviewed.")
    _show(plan, options, apply)
    return _apply(stack, plan, options, apply) if plan.changes else _finish_without_changes(apply)


def _show(plan: Plan, options: Options, apply: ApplyOptions) -> None:
    from ..planning.encoding import plan_data
    from ..views import json

    if apply.as_json:
        say(json.document({"type": "plan", "plan": plan_data(plan)}, indent=None))
    else:
        show(plan, options, None)


def _finish_without_changes(apply: ApplyOptions) -> int:
    from ..model.events import Finished
    from ..views import json

    if apply.as_json:
        say(json.event(Finished("", 0, 0, 0)))
    return 0


def _apply(stack: Stack, plan: Plan, options: Options, apply: ApplyOptions) -> int:
    from ..model.events import Finished

    log: list[Event] = []
    as_json = apply.as_json
    if not as_json:
        say("")
    try:
        _follow(stack, plan, options, log, apply)
    except KeyboardInterrupt:
        raise failure(
            "aborted",
            "the apply was aborted",
            "The current operation may be incomplete; it is recorded as pending.",
            "run `lac plan` to see what is left, and `lac apply` to finish it",
        ) from None
    except LacError:
        if log and not as_json:
            _close(log, options, complete=False)
        raise
    complete = bool(log) and isinstance(log[-1], Finished) and log[-1].complete
    options.is_applied = complete
    if not as_json:
        _close(log, options, complete=complete)
    return 0 if complete else 1


def _follow(stack: Stack, plan: Plan, options: Options, log: list[Event], apply: ApplyOptions) -> None:
    """Apply the plan, print each event as it comes, and add it to `log`."""
    from .progress import reporter
    from .signals import handle_signals

    with handle_signals() as stop, reporter(options, as_json=apply.as_json) as report:
        work = _end_after_stop(
            stack.apply(plan, lock_timeout=apply.lock_timeout, stop=lambda: stop.requested), log
        )
        # closing releases the locks, also when the second Ctrl-C comes between two events
        with closing(work) as events:
            for event in events:
                log.append(event)
                report(event)
                if is_abandoned():
                    # without a reader, still finish the current operation
                    stop.requested = True


def _end_after_stop(events: Iterator[Event], log: list[Event]) -> Generator[Event, None, None]:
    """The events, with a last one where a stop interrupts a wait (for a lock, a database, Ray)."""
    from ..model.events import Done, Finished
    from ..stack import StopRequest

    try:
        yield from events
    except StopRequest:
        yield Finished("", sum(isinstance(event, Done) for event in log), 0, 0, stopped=True)


def _close(log: list[Event], options: Options, *, complete: bool) -> None:
    from ..views.terminal import events as view

    write, stream = (say, sys.stdout) if complete else (note, sys.stderr)
    write(f"\n{view.closing(log, paint(options, stream))}")
