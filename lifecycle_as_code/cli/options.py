"""The options that every verb takes, before or after its name."""

from __future__ import annotations

import os
from typing import Any

import click

SHARED = "Shared options"


class Options:
    """What the shared options said. The place nearest to the verb wins; `--var` and `--var-file` add up."""

    def __init__(self) -> None:
        self.directory = "."
        self.named_environment: str | None = None
        self.variables: dict[str, str] = {}
        self.var_files: list[str] = []
        self.no_color = False
        self.applied = False
        """Whether an apply was carried out whole: then that is what the exit code is about."""

    @property
    def environment(self) -> str | None:
        """`--env`, or LAC_ENV."""
        return self.named_environment or os.environ.get("LAC_ENV") or None


class SharedOption(click.Option):
    """Hands its value to `Options` instead of to the verb."""


def shared_options() -> list[click.Parameter]:
    """A fresh set of them for one command."""
    # none of them has a default: saying nothing after the verb must not undo what was said before it
    return [
        _shared("-C", "directory", metavar="DIR", help="The stack's directory."),
        _shared("-e", "--env", "named_environment", metavar="NAME", help="The environment.  [env: LAC_ENV]"),
        _shared("--var", "variables", multiple=True, metavar="K=V", help="Set a variable; may be repeated."),
        _shared(
            "--var-file",
            "var_files",
            multiple=True,
            metavar="FILE",
            help="Variables from a YAML file; may be repeated.",
        ),
        _shared("--no-color", "no_color", is_flag=True, help="No colours.  [env: NO_COLOR]"),
    ]


def _shared(*names: str, **settings: Any) -> SharedOption:
    return SharedOption(list(names), expose_value=False, callback=_take, **settings)


def _take(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    options = ctx.find_object(Options)
    if not value or options is None or ctx.resilient_parsing:
        return
    if param.name == "variables":
        options.variables.update(_pair(ctx, param, item) for item in value)
    elif param.name == "var_files":
        options.var_files.extend(value)
    elif param.name:
        setattr(options, param.name, value)


def _pair(ctx: click.Context, param: click.Parameter, item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"`{item}` should be NAME=VALUE", ctx, param)
    return name, value
