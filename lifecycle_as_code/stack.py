"""`Stack`: manifests, stores and cluster put together. What the command line and notebooks use.

stack = Stack.open("infra", env="prod")
plan = stack.plan()
for event in stack.apply(plan):
    ...
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from . import lock, state
from .adopt import Adopted, adopted
from .apply import Run
from .background import in_background
from .change import Plan
from .connections import Connections, as_progress
from .diagnostics import Diagnostic, LacError, did_you_mean, refuse
from .drift import Drift, make_drift, pending_only
from .events import Event, Locked
from .kinds import KINDS
from .kinds.base import Kind, ServeKind, Wanted
from .plan import make_plan
from .refresh import as_recorded, naming, observe, settled, wanted, with_cluster
from .resolve import Pin, resolve
from .snapshot import Desired, Live, Observed, Record, Recorded
from .spec import Address, Spec, Store, parse_address
from .transaction import Entry, load, record

if TYPE_CHECKING:
    from .manifest.load import Manifest
    from .manifest.settings import Settings
    from .stores.ray import Cluster

__all__ = ["Adopted", "Drift", "Shown", "Stack"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One object from every side: as declared, as recorded, as it is."""

    address: Address
    desired: Spec | None
    recorded: Record | None
    live: Observed | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """The three snapshots of one moment; `desired` is resolved, unless that was not asked for."""

    desired: Desired
    recorded: Recorded
    live: Live


class Stack:
    """A directory of manifests and the stores that it describes. Holds no connection between calls."""

    def __init__(self, manifest: Manifest, kinds: Mapping[str, Kind[Any]]) -> None:
        self._manifest = manifest
        self._kinds = kinds
        self._specs: dict[str, type[Spec]] = {name: kind.spec for name, kind in kinds.items()}
        self._connections = Connections(manifest.settings)

    @classmethod
    def open(
        cls,
        path: str | Path = ".",
        *,
        env: str | None = None,
        variables: Mapping[str, str] | None = None,
        var_files: Sequence[Path] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Stack:
        """Read and check the manifests below `path`, for one environment of its `lac.yaml`.

        `environ` stands for the process's environment. LacError with every problem at its place.
        Nothing is connected to yet.
        """
        # a stack that is given its desired objects needs no YAML
        from .manifest.load import load as load_manifest

        manifest = load_manifest(
            Path(path),
            {name: kind.spec for name, kind in KINDS.items()},
            environment=env,
            variables=variables or {},
            var_files=var_files,
            environ=os.environ if environ is None else environ,
        )
        return cls(manifest, KINDS)

    @property
    def settings(self) -> Settings:
        """What `lac.yaml` says, for the chosen environment."""
        return self._manifest.settings

    @property
    def name(self) -> str:
        """The stack's name, by which it owns objects in a store that it may share."""
        return self.settings.name

    @property
    def environment(self) -> str:
        """The chosen environment, or nothing."""
        return self.settings.environment or ""

    @property
    def directory(self) -> Path:
        """Where `lac.yaml` is."""
        return self.settings.directory

    @property
    def desired(self) -> Desired:
        """What the manifests declare, as written."""
        return self._manifest.desired

    @property
    def files(self) -> tuple[Path, ...]:
        """The manifests that were read, absolute."""
        return tuple(Path(name).resolve() for name in self._manifest.files)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What the manifests make one wonder about."""
        return self.desired.warnings

    # --- reading

    def plan(self, *, destroy: bool = False, refresh: bool = True) -> Plan:
        """What `apply` would do. Reads every store and writes nothing. LacError where it can't be done.

        `destroy`: the plan that deletes all that this stack owns. `refresh=False`: believe our records
        of what is ours instead of looking.
        """
        desired = Desired() if destroy else self.desired
        seen = self._look(desired, refresh=refresh)
        return self._plan(seen, destroy=destroy)

    def _plan(self, seen: _Seen, *, destroy: bool = False) -> Plan:
        return make_plan(
            seen.desired,
            seen.recorded,
            seen.live,
            stack=self.name,
            environment=self.environment,
            checks=[kind.check for kind in self._kinds.values()],
            destroy=destroy,
        )

    def drift(self) -> Drift:
        """What changed outside since our last apply, apart from what the manifests would change."""
        seen = self._look(self.desired, resolved=False)
        outside = make_drift(
            seen.recorded,
            replace(seen.live, diagnostics=()),
            self.desired.scopes,
            stack=self.name,
            environment=self.environment,
        )
        try:
            plan = self._plan(replace(seen, desired=self._resolve(seen.desired, seen.live)))
        except LacError as error:
            return Drift(outside, None, error.diagnostics)
        return Drift(outside, pending_only(plan))

    def show(self, address: Address) -> Shown:
        """One object from every side."""
        asked = Desired({address: spec} if (spec := self.desired.objects.get(address)) else {})
        seen = self._look(asked, resolved=False, names=naming({address}))
        return Shown(address, spec, seen.recorded.ours.get(address), seen.live.objects.get(address))

    def records(self) -> tuple[Record, ...]:
        """What this stack last applied, in the order of addresses."""
        with self._connections.reading() as (ledger, _), ledger.reading() as db:
            recorded = load(ledger, db, self._specs)
        return tuple(sorted(recorded.ours.values(), key=lambda r: str(r.address)))

    def parse_address(self, text: str) -> Address:
        """An address as people write it. LacError with a hint where it isn't one."""
        try:
            return parse_address(text, self._specs)
        except ValueError as error:
            kind = text.partition(".")[0]
            raise LacError(
                Diagnostic(
                    "bad-address",
                    "not an address",
                    f"{error}.",
                    hint="" if kind in self._specs else did_you_mean(kind, self._specs),
                )
            ) from None

    def _look(
        self,
        desired: Desired,
        *,
        refresh: bool = True,
        resolved: bool = True,
        names: Wanted | None = None,
    ) -> _Seen:
        """All three snapshots. The SQL snapshot is closed before Ray is asked.

        `names`: what to observe; by default what `desired` and our records name and refer to.
        """
        self._refuse_unreachable(desired)
        with self._connections.reading() as (ledger, warnings), ledger.reading() as db:
            recorded = load(ledger, db, self._specs)
            live = observe(list(self._kinds.values()), db, names or wanted(desired, recorded))
            live = settled(list(self._kinds.values()), db, desired, live)
        live = replace(live, diagnostics=(*warnings, *live.diagnostics))
        if refresh:
            with self._connections.cluster() as cluster:
                if cluster is not None:
                    live = with_cluster(list(self._kinds.values()), cluster, live)
        else:
            live = as_recorded(recorded, live)
        return _Seen(self._resolve(desired, live) if resolved else desired, recorded, live)

    def _resolve(self, desired: Desired, live: Live) -> Desired:
        site = self._connections.site()

        def pin(kind: ServeKind[Any]) -> Pin:
            return lambda mine, expected: kind.settle(site, mine, expected)

        pins = {n: pin(k) for n, k in self._kinds.items() if isinstance(k, ServeKind)}
        return resolve(desired, live, pins)

    # --- writing

    def apply(
        self, plan: Plan, *, lock_timeout: float = 0.0, stop: Callable[[], bool] | None = None
    ) -> Iterator[Event]:
        """Do what `plan` says, one event after another; nothing happens unless they are read.

        Waits up to `lock_timeout` seconds for another apply. Once `stop()` is true, the effect at hand
        is finished or undone, and the apply ends. LacError where a SQL step is refused: it wrote nothing.
        """
        asked = stop or (lambda: False)
        entry = Entry(str(uuid4()), time.time_ns() // 1_000_000)
        with ExitStack() as open_until_done:
            yield from self._connections.create_stores(asked)
            ledger = self._connections.ledger()
            held = lock.held
            waiting = in_background(
                lambda tell: open_until_done.enter_context(
                    held(ledger.registry, self.name, lock_timeout, tell)
                ),
                asked,
            )
            yield from as_progress(waiting)
            yield Locked(entry.apply_id)
            cluster: Cluster | None = None
            if any(step.store is Store.SERVE for step in plan.steps):
                yield from self._connections.start_ray(asked)
                cluster = open_until_done.enter_context(self._connections.cluster())
            run = Run(
                plan, ledger, list(self._kinds.values()), self._connections.site(), cluster, entry, asked
            )
            yield from run.events()

    def forget(self, addresses: Sequence[Address]) -> None:
        """Drop our records of `addresses`; the objects stay as they are, and stop being ours."""
        ledger = self._connections.ledger()
        with lock.held(ledger.registry, self.name, 0.0, _quietly):
            with ledger.reading() as db:
                ours = load(ledger, db, self._specs).ours
            if missing := [a for a in addresses if a not in ours]:
                raise LacError(
                    *(
                        Diagnostic("not-recorded", "this stack doesn't own the object", f"{a} has no record.")
                        for a in missing
                    )
                )
            now_ms = time.time_ns() // 1_000_000
            with ledger.writing(now_ms) as db:
                for connection, is_auth in ((db.registry, False), (db.auth, True)):
                    mine = [a for a in addresses if (ours[a].store is Store.AUTH) is is_auth]
                    if connection is not None and mine:
                        state.save(connection, self.name, ledger.workspace, "forgotten", now_ms, (), mine)

    def adopt(
        self, addresses: Sequence[Address] | None, *, write: Callable[[str], None] | None = None
    ) -> Adopted:
        """Take live objects over: record them as they are, and give the YAML that declares them.

        None takes everything that nobody owns. LacError where one isn't there or belongs to another
        stack. Objects that are already declared are recorded only. `write` is given the YAML, where
        there is any, before anything is recorded; what it raises ends it, and nothing is taken over.
        """
        seen = self._look(Desired(), resolved=False, names=Wanted())
        taken = adopted(addresses, self.desired, seen.recorded, seen.live, self._specs)
        if taken.yaml and write is not None:
            write(taken.yaml)
        if taken.records:
            ledger = self._connections.ledger()
            with lock.held(ledger.registry, self.name, 0.0, _quietly):
                entry = Entry(str(uuid4()), time.time_ns() // 1_000_000)
                with ledger.writing(entry.now_ms) as db:
                    record(ledger, db, entry, taken.records)
        return taken

    def _refuse_unreachable(self, desired: Desired) -> None:
        """Objects declared for a store that `lac.yaml` doesn't name."""
        missing = []
        for address, spec in desired.objects.items():
            if spec.store is Store.SERVE and self.settings.serve is None:
                missing.append((address, "serve", "serve: local"))
            if spec.store is Store.AUTH and self.settings.auth_store is None:
                missing.append((address, "auth_store", "auth_store: sqlite:///basic_auth.db"))
        refuse(
            Diagnostic(
                "no-store",
                "the stack has nowhere to put this",
                f"{address} needs `{setting}:`, which lac.yaml doesn't set.",
                hint=f"add `{example}` to lac.yaml",
                at=desired.places.get(address),
            )
            for address, setting, example in missing
        )


def _quietly(line: str) -> None:
    """Progress of what takes no time to speak of."""
