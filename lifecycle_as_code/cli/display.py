"""How a plan is shown: one of its views, for every verb that shows one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from .options import Options
from .output import paint, say, tell, width

if TYPE_CHECKING:
    from ..model.diagnostics import Diagnostic
    from ..model.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])

VIEWS = {
    "json": "Print it as JSON.",
    "markdown": "Print it as Markdown, for a comment or an issue.",
    "html": "Print it as one HTML file that needs no network.",
    "github": "Print annotations for GitHub Actions.",
}
"""The views beside the one for a terminal, with their help."""


def view_options(*names: str) -> Callable[[F], F]:
    """These views as flags; the command gets the one that was chosen as `view`, or None for people.
    UsageError where there are several."""

    def decorated(function: F) -> F:
        @wraps(function)
        def command(*args: Any, **said: Any) -> Any:
            chosen = [name for name in names if said.pop(f"as_{name}")]
            if len(chosen) > 1:
                raise click.UsageError(f"{' and '.join(f'--{name}' for name in chosen)}: choose one")
            return function(*args, view=chosen[0] if chosen else None, **said)

        for name in reversed(names):
            command = click.option(f"--{name}", f"as_{name}", is_flag=True, help=VIEWS[name])(command)
        return cast(F, command)

    return decorated


plan_views = view_options(*VIEWS)
"""All of them."""


def show(plan: Plan, options: Options, view: str | None) -> None:
    """Print a plan."""
    # one view only: another one's models cost as much as comparing a thousand objects
    match view:
        case "json":
            from ..views import json

            say(json.plan(plan))
        case "markdown":
            from ..views.markdown import plan as markdown

            say(markdown.plan(plan))
        case "html":
            from ..views import html

            say(html.plan(plan))
        case "github":
            from ..views import github

            say(github.plan(plan, below_root()))
        case _:
            from ..views.terminal import plan as human

            tell(human.plan(plan, paint(options), width=width()))


def show_problems(found: Sequence[Diagnostic], args: Sequence[str]) -> None:
    """Print, in the place of what was asked for, why there is none."""
    # the command line may be what is wrong: its words are all that is known
    asked = next((name for name in VIEWS if f"--{name}" in args), None)
    match asked:
        case "json":
            # imported here: pydantic comes with it
            from ..views import json

            say(json.problems(found, indent=None))
        case "markdown":
            from ..views.markdown import plan as markdown

            say(markdown.problems(found))
        case "github":
            from ..views import github

            say(github.problems(found, below_root()))


def below_root() -> str:
    """The way from the repository's root to where we are, in a workflow of GitHub's; empty elsewhere."""
    root = os.environ.get("GITHUB_WORKSPACE")
    if not root:
        return ""
    way = os.path.relpath(os.path.realpath("."), os.path.realpath(root))
    return "" if way.split(os.sep)[0] in (".", "..") else way
