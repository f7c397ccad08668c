"""From options to an open stack, and its saved plans. Imports the engine only when called, so that `--help`
stays fast."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from ..model.diagnostics import LacError
from ..views.text import safe
from .files import read, write
from .options import Options
from .output import note, warn

if TYPE_CHECKING:
    from ..model.plan import Plan
    from ..model.spec import Spec
    from ..planning.planfile import SavedPlan
    from ..stack import Stack


def open_stack(options: Options, *, manifests: bool = True) -> Stack:
    """The stack of the shared options. LacError with every problem in its manifests; without `manifests`, in
    lac.yaml only."""
    from ..stack import Stack

    return Stack.open(
        options.directory,
        env=options.environment,
        variables=options.variables,
        var_files=[Path(file) for file in options.var_files],
        manifests=manifests,
    )


def warn_of_commit(stack: Stack, options: Options) -> None:
    """Warn that the commit won't be recorded, where git refuses to read the checkout."""
    warn(filter(None, [stack.commit_warning]), options)


def spec_classes() -> dict[str, type[Spec]]:
    """Every kind's Spec class, for commands that need no stack."""
    from ..stack import SPECS

    return dict(SPECS)


def open_plan(options: Options, file: str, *, manifests: bool = False) -> tuple[Stack, SavedPlan]:
    """The plan in `file`, and its stack; `manifests`: with its manifests, where they can be read. The
    environment is the plan's own. LacError where the options name another one, or the file was changed or
    belongs to another stack."""
    from ..planning.planfile import MAX_BYTES, environment_of

    data = read(Path(file), MAX_BYTES)
    own = copy(options)
    own.named_environment = options.environment or environment_of(data)
    stack = open_stack(own, manifests=False)
    plan = stack.read_plan(data)
    if manifests:
        try:
            stack = open_stack(own)
        except LacError as error:
            where = safe(error.diagnostics[0].at or error.diagnostics[0].summary)
            note(f"The manifests can't be read ({where}): only the plan's own policies are checked.")
    return stack, plan


def save_plan(stack: Stack, plan: Plan, file: str, options: Options) -> None:
    """Write a plan to a file, whole or not at all."""
    warn_of_commit(stack, options)
    write(Path(file), stack.save_plan(plan))
    note(f"\nSaved the plan to {safe(file)}. To apply exactly this plan, run: lac apply {safe(file)}")
