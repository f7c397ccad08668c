"""`lac policy`: policies and their tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..display import json_option
from ..files import read
from ..group import Group
from ..options import Options
from ..output import failure, paint, say, tell, warn
from ..stacks import open_stack, spec_classes

if TYPE_CHECKING:
    from ...review.policy.tests import Trial
    from ...stack import Stack

_EPILOG = """Expressions under `require:` are CEL. They can use `before` and `after` (a version: `.tags`,
`.metrics`, `.params`, `.aliases`, `.run.status`, …, and the object's own `.fields`), `signature`, `evidence`,
`change`, `plan`, `environment` and `actor`. `lac policy context` lists all names with their types."""


@click.group(cls=Group, epilog=_EPILOG)
def command() -> None:
    """List and test the policies that plans must meet."""


@command.command("list", short_help="List the policies and waivers.")
@click.pass_obj
def list_(options: Options) -> int:
    """List the policies and waivers in the manifests."""
    from ...review.policy.judge import list_expired_waivers
    from ...views.terminal import policy as view

    stack = open_stack(options)
    warn(list_expired_waivers(stack.desired.rules, datetime.now(UTC)), options)
    if text := view.policies(stack.desired.rules, paint(options)):
        tell(text)
    return 0


@command.command("context", short_help="List the names that expressions can use.")
@click.pass_obj
def context(options: Options) -> int:
    """List the names that expressions can use, with their types. `*.` stands for `before.` and `after.`.

    Before a creation and after a deletion there is no version: `exists` is false, `version` is 0 and every
    map is empty. A requirement that reads a missing metric is not met; write `!before.exists || …` to allow
    it."""
    from ...views.terminal import policy as view

    tell(view.context(paint(options)))
    return 0


@command.command("test", short_help="Test the policies.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@json_option
@click.pass_obj
def test(options: Options, files: tuple[str, ...], as_json: bool) -> int:
    """Test the policies in the manifests. Reads no store and no cluster.

    FILE has tests (by default every `*.policytest.yaml` below the stack's directory), or is a saved plan,
    which passes if no policy of its environment denies it, as of the time it was made. Exits with 1 if a test
    fails."""
    from ...views import json
    from ...views.terminal import policy as view

    stack = open_stack(options)
    paths = [Path(file) for file in files] or _tests(stack)
    trials = [trial for path in paths for trial in _run(path, stack, options)]
    say(json.trials(trials) if as_json else view.trials(trials, paint(options)))
    return 0 if all(trial.passed for trial in trials) else 1


def _tests(stack: Stack) -> list[Path]:
    """The files of tests below the stack's directory, relative to the working directory. LacError for
    none."""
    from ...manifest.files import TESTS, list_tests

    here = Path.cwd()
    paths = list_tests(stack.directory)
    if not paths:
        raise failure(
            "no-policy-tests",
            "no policy tests found",
            f"No file below {stack.directory} ends in {' or '.join(TESTS)}.",
            "write a test, or test a saved plan: `lac plan -o FILE`, then `lac policy test FILE`",
        )
    return [path.relative_to(here) if path.is_relative_to(here) else path for path in paths]


def _run(path: Path, stack: Stack, options: Options) -> Iterator[Trial]:
    from ...manifest.policy_tests.reader import read_policy_tests
    from ...planning import planfile
    from ...review.policy.tests import judge_saved_plan, run_case

    rules, specs = stack.desired.rules, spec_classes()
    data = read(path, planfile.MAX_BYTES)
    if f'"format": "{planfile.FORMAT}"'.encode() in data[:100]:
        key = os.fsencode(os.environ.get(planfile.KEY_VARIABLE, "")) or None
        file_plan = planfile.load(data, specs, key)
        made = datetime.fromisoformat(file_plan.origin.made_at)
        if options.environment is None and file_plan.plan.environment:
            # policies may differ between environments
            own = copy(options)
            own.named_environment = file_plan.plan.environment
            rules = open_stack(own).desired.rules
        yield judge_saved_plan(file_plan.plan, rules, str(path), actor=file_plan.origin.made_by, now=made)
        return
    names = [policy.name for policy in rules.policies]
    now = datetime.now(UTC)
    for case in read_policy_tests(data, str(path), specs, names, stack=stack.name, now=now):
        yield run_case(case, rules, str(path))
