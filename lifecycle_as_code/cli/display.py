"""The views of a plan as options of a command, and their printing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ..model.diagnostics import Diagnostic
from .options import Options
from .output import paint, say, tell, warn, width

if TYPE_CHECKING:
    from ..model.plan import Plan

VIEWS = {
    "json": "Print JSON.",
    "markdown": "Print Markdown, for a comment or an issue.",
    "html": "Print a self-contained HTML page.",
    "github": "Print annotations for GitHub Actions.",
}
"""The views other than the terminal's, with their help."""


def view_options(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """These views as flags; the command gets the flag's name as `view`, or None for the terminal.
    UsageError for several flags."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @wraps(function)
        def command(*args: Any, **values: Any) -> int:
            flags = [name for name in names if values.pop(f"as_{name}")]
            if len(flags) > 1:
                raise click.UsageError(f"{' and '.join(f'--{name}' for name in flags)}: choose one")
            return function(*args, view=flags[0] if flags else None, **values)

        for name in reversed(names):
            command = click.option(f"--{name}", f"as_{name}", is_flag=True, help=VIEWS[name])(command)
        return command

    return decorate


plan_views = view_options(*VIEWS)
"""All views as flags."""

json_option = click.option("--json", "as_json", is_flag=True, help=VIEWS["json"])


def show(plan: Plan, options: Options, name: str | None) -> None:
    """Print a plan in the view of this name; None for the terminal's."""
    # import one view only: the others' imports cost as much as comparing a thousand objects
    match name:
        case "json":
            from ..views import json

            say(json.plan(plan))
        case "markdown":
            from ..views.markdown import plan as markdown_view

            say(markdown_view.plan(plan))
        case "html":
            from ..views import html

            say(html.plan(plan))
        case "github":
            from ..views import github

            say(github.plan(plan, below_root()))
        case _:
            from ..views.terminal import plan as terminal_view

            tell(terminal_view.plan(plan, paint(options), width=width()))


def show_problems(problems: Sequence[Diagnostic], args: Sequence[str]) -> None:
    """Print the problems on stdout, in the view that the command line names."""
    # read from the words, because the command line may be the problem
    match next((name for name in VIEWS if f"--{name}" in args), None):
        case "json":
            # imported here: pydantic comes with it
            from ..views import json

            say(json.problems(problems, indent=None))
        case "markdown":
            from ..views.markdown import plan as view

            say(view.problems(problems))
        case "github":
            from ..views import github

            say(github.problems(problems, below_root()))


def below_root() -> str:
    """The path from the repository's root to the working directory in a GitHub workflow; empty elsewhere."""
    root = os.environ.get("GITHUB_WORKSPACE")
    if not root:
        return ""
    path = os.path.relpath(os.path.realpath("."), os.path.realpath(root))
    return "" if path.split(os.sep)[0] in (".", "..") else path


def warn_of_denials(plan: Plan, options: Options) -> int:
    """Print the policies that deny the plan on stderr. Returns the exit code: 1, since the plan can't be
    applied."""
    from ..review.policy.judge import list_denials

    warn(list_denials(plan), options)
    return 1
