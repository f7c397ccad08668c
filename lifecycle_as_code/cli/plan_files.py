"""Plans that were saved: read, and held against the stack that they are for."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from .options import Options
from .output import note
from .stacks import opened

if TYPE_CHECKING:
    from ..planning.planfile import SavedPlan
    from ..stack import Stack


def from_file(options: Options, file: str, *, manifests: bool = False) -> tuple[Stack, SavedPlan]:
    """The plan in `file`, and its stack, whose manifests are looked into with `manifests` alone, and if they
    can be read. The environment is the plan's own, unless another one is named: that is refused. LacError
    where the file was changed or isn't this stack's."""
    from ..planning.planfile import MAX_BYTES, environment_of
    from .files import read

    data = read(Path(file), MAX_BYTES)
    chosen = options.environment or environment_of(data)
    named = copy(options)
    named.named_environment = chosen
    stack = opened(named, manifests=False)
    saved = stack.read_plan(data)
    return (_whole(named) or stack) if manifests else stack, saved


def _whole(options: Options) -> Stack | None:
    """The stack with its manifests; None where they can't be read, which is said."""
    from ..model.diagnostics import LacError
    from ..views.text import safe

    try:
        return opened(options)
    except LacError as error:
        first = error.diagnostics[0]
        where = safe(first.at or first.summary)
        note(f"The manifests can't be read ({where}): the plan is judged by its own policies alone.")
        return None
