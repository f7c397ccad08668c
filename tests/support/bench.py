"""A stack on real databases with desired objects given as specs, for tests of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lifecycle_as_code.engine.refresh import observe
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.base import Filter, Kind
from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.model.events import Event
from lifecycle_as_code.model.plan import Limits, Plan
from lifecycle_as_code.model.snapshot import Claim, Desired, Observed, Record
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stack import Stack


@dataclass
class Bench:
    """One pair of databases, and the stacks that share it."""

    directory: Path
    store: str
    auth_store: str | None = None
    kinds: Mapping[str, Kind[Any]] = field(default_factory=lambda: KINDS)
    serve: Serve | None = None
    # tests of other things delete as they like
    limits: Limits = Limits(share=1.0)
    environ: Mapping[str, str] = field(default_factory=dict)
    evidence_seconds: float = 20.0

    def stack(
        self,
        specs: Iterable[Spec] = (),
        *,
        name: str = "test",
        scopes: Mapping[Address, Claim] | None = None,
        **desired_too: Any,
    ) -> Stack:
        """A stack that declares `specs`; `desired_too`: other fields of Desired."""
        settings = SimpleNamespace(
            name=name,
            environment="",
            directory=self.directory,
            store=SimpleNamespace(value=self.store, reference=None),
            secrets={},
            usage_store=None,
            rate_limit_store=None,
            auth_store=self.auth_store and SimpleNamespace(value=self.auth_store, reference=None),
            workspace="default",
            serve=self.serve,
            local=None,
            limits=self.limits,
            drift_ignore=(),
            default_permission="READ",
            evidence_seconds=self.evidence_seconds,
        )
        desired = Desired({spec.address: spec for spec in specs}, scopes=scopes or {}, **desired_too)
        manifest = SimpleNamespace(settings=settings, desired=desired, digest=lambda: "", files=())
        return Stack(manifest, self.kinds, self.environ)  # type: ignore[arg-type]  # it has what a stack reads of a manifest

    def live(self) -> dict[Address, Observed]:
        """Everything that is there, tombstones apart."""
        stack = self.stack()
        with stack._connections.ledger().reading() as db:
            objects = observe(list(self.kinds.values()), db, Filter()).objects
        return {address: found for address, found in objects.items() if not found.tombstone}

    def records(self, name: str = "test") -> dict[Address, Record]:
        """What the stack recorded."""
        return {record.address: record for record in self.stack(name=name).records()}


def converge(stack: Stack) -> tuple[Plan, list[Event]]:
    """Plan and apply."""
    plan = stack.plan()
    return plan, list(stack.apply(plan))


def clean(stack: Stack) -> bool:
    """Whether nothing is left to do, and nothing seems to have happened."""
    drift = stack.drift()
    return not stack.plan().changes and not drift.exists and not drift.problems
