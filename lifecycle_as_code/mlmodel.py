"""Stand-in until branch `sig` is merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .signature import Signature


@dataclass(frozen=True, slots=True)
class MlModel:
    """What MLmodel says."""

    flavors: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    mlflow: str = ""
    size: int | None = None
    signature: Signature | None = None
    problem: str = ""


def read_mlmodel(data: bytes) -> MlModel:
    """Nothing, for now."""
    return MlModel()
