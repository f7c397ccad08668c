"""The options that every command takes, before or after its name."""

from __future__ import annotations

import os
from typing import Any

import click

SHARED = "Shared options"


class Options:
    """The values of the shared options. The last occurrence wins; `--var` and `--var-file` add up."""

    def __init__(self) -> None:
        self.directory = "."
        self.named_environment: str | None = None
        self.variables: dict[str, str] = {}
        self.var_files: list[str] = []
        self.no_color = False
        self.is_applied = False
        """Whether an apply completed; lost output is then only a warning."""

    @property
    def environment(self) -> str | None:
        """`--env`, or LAC_ENV."""
        return self.named_environment or os.environ.get("LAC_ENV") or None


class SharedOption(click.Option):
    """Hands its value to `Options` instead of to the command."""


def shared_options() -> list[click.Parameter]:
    """A fresh set of them for one command."""
    # without defaults: an option that is absent after the verb must not reset the one before it
    return [
        _shared_option("-C", "directory", metavar="DIR", help="The stack's directory."),
        _shared_option(
            "-e",
            "--env",
            "named_environment",
            metavar="NAME",
            help="The environment in lac.yaml.  [env: LAC_ENV]",
        ),
        _shared_option(
            "--var", "variables", multiple=True, metavar="K=V", help="Set a variable. May be repeated."
        ),
        _shared_option(
            "--var-file",
            "var_files",
            multiple=True,
            metavar="FILE",
            help="Read variables from a YAML file. May be repeated.",
        ),
        _shared_option("--no-color", "no_color", is_flag=True, help="Disable colours.  [env: NO_COLOR]"),
    ]


def _shared_option(*names: str, **settings: Any) -> SharedOption:
    return SharedOption(list(names), expose_value=False, callback=_store, **settings)


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
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
        raise click.BadParameter(f"`{item}` is not of the form NAME=VALUE", ctx, param)
    return name, value
