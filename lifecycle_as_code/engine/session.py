"""What every command of a stack works with: its manifests, its kinds, its stores, and its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..kinds.base import Kind
from ..model.diagnostics import Diagnostic, LacError, did_you_mean
from ..model.plan import Plan
from ..model.spec import Address, Spec, parse_address
from ..planning.guards import Check
from ..planning.planfile import KEY_VARIABLE
from ..planning.planner import PlanOptions, make_plan
from .actor import principal
from .connections import Connections
from .refresh import Camera, Snapshots

if TYPE_CHECKING:
    from ..manifest.load import Manifest
    from ..manifest.settings import Settings


@dataclass(frozen=True)
class Core:
    """`environ` stands for the process's environment."""

    manifest: Manifest
    kinds: Mapping[str, Kind[Any]]
    environ: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """What `lac.yaml` says, for the chosen environment."""
        return self.manifest.settings

    @property
    def name(self) -> str:
        """The stack's name."""
        return self.settings.name

    @property
    def environment(self) -> str:
        """The chosen environment, or nothing."""
        return self.settings.environment or ""

    @property
    def connections(self) -> Connections:
        """The stores and the cluster."""
        return Connections(self.settings)

    @property
    def camera(self) -> Camera:
        """What takes snapshots."""
        return Camera(self.connections, self.kinds)

    @property
    def specs(self) -> dict[str, type[Spec]]:
        """Every kind's Spec class."""
        return self.camera.specs

    @property
    def checks(self) -> list[Check]:
        """Every kind's own rules."""
        return [kind.check for kind in self.kinds.values()]

    @property
    def principal(self) -> str:
        """The user of MLflow's that the applier is, where known."""
        return principal(self.environ)

    @property
    def key(self) -> bytes | None:
        """What plans are sealed with. Any bytes are a key, text or not."""
        return os.fsencode(self.environ.get(KEY_VARIABLE, "")) or None

    def options(self, **asked: Any) -> PlanOptions:
        """What is asked of a plan, with what the stack says about all of its plans."""
        return PlanOptions(limits=self.settings.limits, principal=self.principal, **asked)

    def plan(self, seen: Snapshots, options: PlanOptions) -> Plan:
        """The plan from these snapshots, without a review."""
        return make_plan(
            seen.desired,
            seen.recorded,
            seen.live,
            stack=self.name,
            environment=self.environment,
            checks=self.checks,
            options=options,
            origins=seen.origins,
        )

    def address(self, text: str) -> Address:
        """An address as people write it. LacError with a hint where it isn't one."""
        try:
            return parse_address(text, self.specs)
        except ValueError as error:
            kind = text.partition(".")[0]
            raise LacError(
                Diagnostic(
                    "bad-address",
                    "not an address",
                    f"{error}.",
                    hint="" if kind in self.specs else did_you_mean(kind, self.specs),
                )
            ) from None
