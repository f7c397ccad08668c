"""Terraform for the machine-learning lifecycle: YAML manifests, MLflow's registry and Ray Serve.

The public names are loaded when they are first used, so that `lac --help` costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model.diagnostics import Diagnostic, LacError
    from .model.events import Event
    from .model.plan import Action, Change, Plan
    from .stack import Drift, Stack

__version__ = "0.1.0"

__all__ = ["Action", "Change", "Diagnostic", "Drift", "Event", "LacError", "Plan", "Stack", "__version__"]

_HOMES = {
    "Action": "model.plan",
    "Change": "model.plan",
    "Diagnostic": "model.diagnostics",
    "Drift": "stack",
    "Event": "model.events",
    "LacError": "model.diagnostics",
    "Plan": "model.plan",
    "Stack": "stack",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
