"""Saved plans: opened with the stack that they belong to, and written."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from ..model.diagnostics import LacError
from ..views.text import safe
from .files import read, write
from .options import Options
from .output import note
from .stacks import open_stack, warn_of_commit

if TYPE_CHECKING:
    from ..model.plan import Plan
    from ..planning.planfile import SavedPlan
    from ..stack import Stack


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
    return (_open_manifests(own) or stack) if manifests else stack, plan


def _open_manifests(options: Options) -> Stack | None:
    """The stack with its manifests; None, and a note, where they can't be read."""
    try:
        return open_stack(options)
    except LacError as error:
        first = error.diagnostics[0]
        where = safe(first.at or first.summary)
        note(f"The manifests can't be read ({where}): only the plan's own policies are checked.")
        return None


def save_plan(stack: Stack, plan: Plan, file: str, options: Options) -> None:
    """Write a plan to a file, whole or not at all."""
    warn_of_commit(stack, options)
    write(Path(file), stack.save_plan(plan))
    note(f"\nSaved the plan to {safe(file)}. To apply exactly this plan, run: lac apply {safe(file)}")
