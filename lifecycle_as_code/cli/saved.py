"""Plans that were saved: read, and held against the stack that they are for."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from .options import Options
from .stacks import opened

if TYPE_CHECKING:
    from ..planfile import SavedPlan
    from ..stack import Stack


def from_file(options: Options, file: str) -> tuple[Stack, SavedPlan]:
    """The plan in `file`, and its stack, whose manifests aren't looked into. The environment is the plan's
    own, unless another one is named: that is refused. LacError where the file was changed or isn't this
    stack's."""
    from ..planfile import MAX_BYTES, environment_of
    from .files import read

    data = read(Path(file), MAX_BYTES)
    chosen = options.environment or environment_of(data)
    named = copy(options)
    named.named_environment = chosen
    stack = opened(named, manifests=False)
    return stack, stack.read_plan(data)
