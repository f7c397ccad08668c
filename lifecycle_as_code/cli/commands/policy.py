"""`lac policy`: what is asked of changes, and tests of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..group import Group
from ..options import Options
from ..output import paint, say, tell
from ..stacks import opened

if TYPE_CHECKING:
    from pathlib import Path

    from ...review.policy.tests import Trial
    from ...stack import Stack

_EPILOG = """Expressions under `require:` are CEL. They speak of `before` and `after` (a version: `.tags`,
`.metrics`, `.params`, `.aliases`, `.run.status`, …, and the object itself in `.fields`), `signature`,
`evidence`, `change`, `plan`, `environment` and `actor`. All names with types: `lac policy context`."""


@click.group(cls=Group, epilog=_EPILOG)
def command() -> None:
    """List, explain and test what the manifests ask of changes."""


@command.command("list", short_help="List the policies and waivers.")
@click.pass_obj
def list_(options: Options) -> int:
    """List the policies and the waivers that the manifests hold."""
    from datetime import UTC, datetime

    from ...review.policy.judge import expired
    from ...views.terminal import policy as view
    from ..output import warn

    stack = opened(options)
    warn(expired(stack.desired.rules, datetime.now(UTC)), options)
    if text := view.policies(stack.desired.rules, paint(options)):
        tell(text)
    return 0


@command.command("context", short_help="List what expressions may name.")
@click.pass_obj
def context(options: Options) -> int:
    """List what expressions may name, with types. `*.` stands for `before.` and for `after.`.

    Where there is no such version (before a creation, after a deletion) `exists` is false, `version` 0 and
    every map empty: a metric isn't there, and what reads it isn't met. `!before.exists || …` lets that pass.
    """
    from ...views.terminal import policy as view

    tell(view.context(paint(options)))
    return 0


@command.command("test", short_help="Try the policies on tests or saved plans.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--json", "as_json", is_flag=True, help="Print verdicts as JSON.")
@click.pass_obj
def test(options: Options, files: tuple[str, ...], as_json: bool) -> int:
    """Try the manifests' policies. Touches no store and no cluster.

    A FILE holds tests (by default every `*.policytest.yaml` below the stack's directory), or is a saved plan,
    which no policy may deny, judged as of when it was made, by what its environment asks. Exits with 1 where
    something isn't as expected.
    """
    from pathlib import Path

    from ...views import json
    from ...views.terminal import policy as view

    stack = opened(options)
    found = [Path(file) for file in files] or _tests(stack)
    tried = [trial for path in found for trial in _tried(path, stack, options)]
    say(json.document(view.trials_data(tried)) if as_json else view.trials(tried, paint(options)))
    return 0 if all(trial.passed for trial in tried) else 1


def _tests(stack: Stack) -> list[Path]:
    """The tests below the stack's directory, as one would type them. LacError where there are none."""
    from pathlib import Path

    from ...manifest.files import TESTS, tests_below
    from ...model.diagnostics import Diagnostic, LacError

    here = Path.cwd()
    found = tests_below(stack.directory)
    if not found:
        raise LacError(
            Diagnostic(
                "no-policy-tests",
                "there is nothing to test policies with",
                f"No file below {stack.directory} ends in {' or '.join(TESTS)}.",
                hint="write one, or name a saved plan: lac plan -o FILE; lac policy test FILE",
            )
        )
    return [path.relative_to(here) if path.is_relative_to(here) else path for path in found]


def _tried(path: Path, stack: Stack, options: Options) -> Iterator[Trial]:
    import os
    from copy import copy
    from datetime import UTC, datetime

    from ...manifest.policy_tests.reader import read_cases
    from ...planning import planfile
    from ...review.policy.tests import try_case, try_plan
    from ..files import read
    from ..stacks import spec_classes

    rules, specs = stack.desired.rules, spec_classes()
    data = read(path, planfile.MAX_BYTES)
    if f'"format": "{planfile.FORMAT}"'.encode() in data[:100]:
        key = os.fsencode(os.environ.get(planfile.KEY_VARIABLE, "")) or None
        saved = planfile.load(data, specs, key)
        made = datetime.fromisoformat(saved.origin.made_at)
        if options.environment is None and saved.plan.environment:
            # what policies say may differ between environments
            theirs = copy(options)
            theirs.named_environment = saved.plan.environment
            rules = opened(theirs).desired.rules
        yield try_plan(saved.plan, rules, str(path), actor=saved.origin.made_by, now=made)
        return
    names = [policy.name for policy in rules.policies]
    now = datetime.now(UTC)
    for case in read_cases(data, str(path), specs, names, stack=stack.name, now=now):
        yield try_case(case, rules, str(path))
