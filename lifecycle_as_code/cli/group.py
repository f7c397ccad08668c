"""Commands with shared options, and a group that imports a command only when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from .options import SHARED, SharedOption, shared_options


class Verb(click.Command):
    """A command with the shared options, which its help lists in a section of their own."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += shared_options()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options first, then the shared ones."""
        params = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        own = [p.get_help_record(ctx) for p in params if not isinstance(p, SharedOption)]
        common = [p.get_help_record(ctx) for p in params if isinstance(p, SharedOption)]
        for heading, records in (("Options", own), (SHARED, common)):
            if rows := [record for record in records if record]:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class Group(Verb, click.Group):
    """The same for a command with subcommands: `lac state list`."""

    command_class = Verb

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Subcommands, own options, then the shared ones."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)


class LazyGroup(Group):
    """`verbs` maps a heading to commands, each with its module in `commands` and its help."""

    def __init__(self, *, verbs: dict[str, dict[str, tuple[str, str]]], **settings: Any) -> None:
        super().__init__(**settings)
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return [name for section in self.verbs.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now: its module's `command`."""
        table = {name: row for section in self.verbs.values() for name, row in section.items()}
        if cmd_name not in table:
            return None
        module, help_ = table[cmd_name]
        command: click.Command = import_module(f".commands.{module}", __package__).command
        command.name, command.short_help = cmd_name, help_
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion from the table."""
        name = args[0]
        if name.startswith("-") or name in self.list_commands(ctx):
            return super().resolve_command(ctx, args)
        # imported here: a known command doesn't need it
        from ..model.diagnostics import did_you_mean

        hint = did_you_mean(name, self.list_commands(ctx))
        raise click.UsageError(f"unknown command `{name}`; {hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands by heading."""
        for heading, section in self.verbs.items():
            with formatter.section(heading):
                formatter.write_dl([(name, help_) for name, (_, help_) in section.items()])
