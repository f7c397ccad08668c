"""From options to an open stack. The engine is imported here, so that `--help` of a verb stays light."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .options import Options

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


def spec_classes() -> dict[str, type[Spec]]:
    """Every kind's Spec class, for commands that need no stack."""
    from ..kinds import KINDS

    return {name: kind.spec for name, kind in KINDS.items()}
