"""One stack as its commands work with it: its manifests, kinds, stores and environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..kinds.base import Kind
from ..model.diagnostics import Diagnostic, LacError, did_you_mean
from ..model.snapshot import Desired
from ..model.spec import Address, Spec, parse_address
from ..planning.guards import Check
from ..planning.planfile import KEY_VARIABLE
from .actor import principal
from .connections import Connections

if TYPE_CHECKING:
    from ..manifest.load import Manifest
    from ..manifest.settings import Settings


@dataclass(frozen=True)
class Session:
    """`environ` stands for the process's environment."""

    manifest: Manifest
    kinds: Mapping[str, Kind[Any]]
    environ: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """The settings of `lac.yaml` for the chosen environment."""
        return self.manifest.settings

    @property
    def name(self) -> str:
        """The stack's name."""
        return self.settings.name

    @property
    def environment(self) -> str:
        """The chosen environment, or empty."""
        return self.settings.environment or ""

    @property
    def desired(self) -> Desired:
        """The manifests' objects, as written."""
        return self.manifest.desired

    @property
    def connections(self) -> Connections:
        """The stores and the cluster."""
        return Connections(self.settings)

    @property
    def specs(self) -> dict[str, type[Spec]]:
        """Every kind's Spec class."""
        return {name: kind.spec for name, kind in self.kinds.items()}

    @property
    def checks(self) -> list[Check]:
        """Every kind's own rules."""
        return [kind.check for kind in self.kinds.values()]

    @property
    def principal(self) -> str:
        """The MLflow user that applies; empty where unknown."""
        return principal(self.environ)

    @property
    def key(self) -> bytes | None:
        """The key that seals plans: any bytes, text or not."""
        return os.fsencode(self.environ.get(KEY_VARIABLE, "")) or None

    def parse_address(self, text: str) -> Address:
        """An address as people write it. LacError with a hint where it isn't one."""
        try:
            return parse_address(text, self.specs)
        except ValueError as error:
            kind = text.partition(".")[0]
            hint = "" if kind in self.specs else did_you_mean(kind, self.specs)
            raise LacError(Diagnostic("bad-address", "not an address", f"{error}.", hint=hint)) from None
