"""From options to an open stack. The engine is imported here, so that `--help` of a verb stays light."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .options import Options
from .output import warn

if TYPE_CHECKING:
    from ..model.spec import Spec
    from ..stack import Stack


def opened(options: Options, *, manifests: bool = True) -> Stack:
    """The stack that the shared options name. LacError with every problem in its manifests, or without
    `manifests` in lac.yaml alone."""
    from ..stack import Stack

    return Stack.open(
        options.directory,
        env=options.environment,
        variables=options.variables,
        var_files=[Path(file) for file in options.var_files],
        manifests=manifests,
    )


def warn_of_commit(stack: Stack, options: Options) -> None:
    """Say that the commit can't be recorded, where git refuses to tell it."""
    from ..engine.actor import commit_warning

    warn(filter(None, [commit_warning(stack.directory, os.environ)]), options)


def spec_classes() -> dict[str, type[Spec]]:
    """Every kind's Spec class, for commands that need no stack."""
    from ..stack import SPECS

    return dict(SPECS)
