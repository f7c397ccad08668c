"""From options to an open stack. Imports the engine only when called, so that `--help` stays fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .options import Options
from .output import warn

if TYPE_CHECKING:
    from ..model.spec import Spec
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
