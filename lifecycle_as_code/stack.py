"""`Stack`: manifests, stores and cluster put together, for the command line and notebooks.

stack = Stack.open("infra", env="prod")
plan = stack.plan()
for event in stack.apply(plan):
    ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .engine import git, ownership, promotion, queries, rollback, saved_plans, tokens
from .engine.actor import commit_warning
from .engine.apply.run import apply_plan
from .engine.background import StopRequest
from .engine.git import Branch
from .engine.ownership import Import
from .engine.plan import plan_changes, plan_refresh
from .engine.promotion import Promotion
from .engine.queries import ObjectState
from .engine.rollback import Rollback
from .engine.session import Session
from .kinds import KINDS
from .kinds.base import Kind
from .model.diagnostics import Diagnostic
from .model.events import Event
from .model.history import Apply
from .model.plan import Plan
from .model.selector import VersionSelector
from .model.snapshot import Desired, Record
from .model.spec import Address, Spec
from .model.token import NewToken, Token
from .model.usage import By, Usage
from .planning.comparison import Side, States
from .planning.drift import Drift
from .planning.explanation import Explanation
from .planning.planfile import SavedPlan
from .planning.renames import check_moves
from .planning.selection import check_cycles
from .planning.targeting import Selection
from .stores.state import lock

if TYPE_CHECKING:
    from .manifest.load import Manifest
    from .manifest.settings import Settings

__all__ = ["Branch", "Drift", "Import", "ObjectState", "Promotion", "Rollback", "Stack", "StopRequest"]

SPECS: Mapping[str, type[Spec]] = {name: kind.spec for name, kind in KINDS.items()}
"""Every kind's Spec class, for what needs no stack."""


def _check_moves(desired: Desired) -> Iterable[Diagnostic]:
    return check_moves(desired, SPECS)


def _check_rules(desired: Desired) -> Iterable[Diagnostic]:
    # imported here: without policies nothing needs the engine of their expressions
    if not desired.rules.policies:
        return ()
    from .review.policy.judge import check_rules

    return check_rules(desired.rules)


class Stack:
    """A directory of manifests and the stores that it describes. Holds no connection between calls. Every
    method raises LacError where it can't do its work."""

    def __init__(
        self, manifest: Manifest, kinds: Mapping[str, Kind[Any]], environ: Mapping[str, str] | None = None
    ) -> None:
        self._session = Session(manifest, kinds, os.environ if environ is None else environ)
        self._connections = self._session.connections

    @classmethod
    def open(
        cls,
        path: str | Path = ".",
        *,
        env: str | None = None,
        variables: Mapping[str, str] | None = None,
        var_files: Sequence[Path] = (),
        environ: Mapping[str, str] | None = None,
        manifests: bool = True,
    ) -> Stack:
        """Read and check the manifests below `path`, for one environment of its `lac.yaml`. Connects to
        nothing yet. `environ` stands for the process's environment. `manifests=False` reads lac.yaml alone.
        LacError with every problem at its place."""
        # imported here: a stack whose desired objects come from Python needs no YAML
        from .manifest.load import load as load_manifest

        manifest = load_manifest(
            Path(path),
            SPECS,
            environment=env,
            variables=variables or {},
            var_files=var_files,
            environ=os.environ if environ is None else environ,
            settings_only=not manifests,
            checks=(check_cycles, _check_moves, _check_rules),
        )
        return cls(manifest, KINDS, environ)

    @property
    def settings(self) -> Settings:
        """The settings of `lac.yaml` for the chosen environment."""
        return self._session.settings

    @property
    def name(self) -> str:
        """The stack's name, by which it owns objects in a store that it may share."""
        return self._session.name

    @property
    def environment(self) -> str:
        """The chosen environment, or empty."""
        return self._session.environment

    @property
    def directory(self) -> Path:
        """The directory of `lac.yaml`."""
        return self.settings.directory

    @property
    def desired(self) -> Desired:
        """The objects that the manifests declare, as written."""
        return self._session.desired

    @property
    def files(self) -> tuple[Path, ...]:
        """The absolute paths of the manifests."""
        return tuple(Path(name).resolve() for name in self._session.manifest.files)

    @property
    def commit_warning(self) -> Diagnostic | None:
        """Why plans and applies won't record their commit; None where they will."""
        return commit_warning(self.directory, self._session.environ)

    @property
    def local_tls(self) -> tuple[str, Path, Path] | None:
        """Where a local Ray's endpoints answer over TLS, with the files of the certificate and its key."""
        return self._connections.local_tls

    @property
    def metrics_port(self) -> int:
        """Where a local Ray's Prometheus metrics are on 127.0.0.1; 0 for nowhere."""
        return self._connections.metrics_port

    @property
    def replica_environment(self) -> dict[str, str]:
        """The variables of the process's environment that a local Ray's replicas get: those that references
        in the manifests name."""
        names = self._connections.replica_variables(self.desired)
        environ = self._session.environ
        return {name: environ[name] for name in sorted(names) if name in environ}

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings about the manifests."""
        return self.desired.warnings

    # --- reading

    def plan(
        self,
        *,
        destroy: bool = False,
        refresh: bool = True,
        refresh_only: bool = False,
        targets: Sequence[str] = (),
        excludes: Sequence[str] = (),
        allow: Collection[str] = (),
    ) -> Plan:
        """The changes that `apply` would make. Reads every store and writes nothing. `destroy`: delete every
        object that this stack owns. `refresh=False`: use this stack's records instead of live state.
        `refresh_only`: update the records to match live state; change no object. `targets` and `excludes`:
        addresses or patterns that the plan is limited to. `allow`: guards (`model.plan.GUARDS`) to
        override."""
        selection = Selection(tuple(targets), tuple(excludes))
        if refresh_only:
            return plan_refresh(self._session, selection)
        return plan_changes(self._session, destroy=destroy, refresh=refresh, selection=selection, allow=allow)

    def drift(self, ignore: Sequence[str] = ()) -> Drift:
        """The changes made outside lac since the last apply, apart from those that the manifests would make.
        `ignore`: addresses or patterns to ignore, beside those that lac.yaml names."""
        return queries.read_drift(self._session, ignore)

    def show(self, address: Address) -> ObjectState:
        """One object from every side: as declared, as recorded, as live."""
        return queries.read_object(self._session, address)

    def explain(self, address: Address) -> Explanation:
        """Why the plan changes an object, or doesn't. LacError where there can be no plan."""
        return queries.explain(self._session, address)

    def read_state(self, side: Side, *, written: bool = False) -> States:
        """The objects on one side of a comparison, but for a saved plan's. `written`: the manifests' objects
        as written, without reading a store. LacError where there is no such apply."""
        return queries.read_state(self._session, side, written=written)

    def records(self) -> tuple[Record, ...]:
        """This stack's records of its last applies, in the order of addresses."""
        return queries.read_records(self._session)

    def parse_address(self, text: str) -> Address:
        """An address as people write it. LacError with a hint where it isn't one."""
        return self._session.parse_address(text)

    # --- history

    def history(self, address: Address | None = None) -> list[Apply]:
        """Every apply of this stack, the first one first; with `address`, those that changed that object."""
        return queries.read_history(self._session, address)

    def records_at(self, moment_ms: int) -> dict[Address, Spec]:
        """The objects that this stack had recorded at a time, in ms since 1970 by the database's clock."""
        return queries.read_records_at(self._session, moment_ms)

    def rollback(self, what: str, *, allow: Collection[str] = ()) -> Rollback:
        """The plan that undoes an apply, or the last change of one object; endpoints that follow a restored
        alias go back with it. `what`: an apply's id or the beginning of it, or the object's address."""
        return rollback.plan_rollback(self._session, what, allow=allow)

    def read_usage(self, endpoint: str = "", *, by: By, since_ms: int, until_ms: int) -> Usage:
        """How much the endpoints of the usage store, or one of them, were used in a span of time (ms since
        1970), in groups. LacError where the stack has no usage store, or it can't be read."""
        return queries.read_usage(self._session, endpoint, by=by, since_ms=since_ms, until_ms=until_ms)

    # --- promotions

    def promote(
        self,
        model: str,
        *,
        to: str = "champion",
        version: int | str | VersionSelector | None = None,
        where: str | None = None,
    ) -> Promotion:
        """The edit of the manifests that points the alias `to` of a model at another version, by default the
        challenger's. Writes nothing. `version`: a number, a selector, or one of `3`, `latest`, `@alias`,
        `run:ID`. `where`: the newest version for which this CEL expression is true. LacError where there is
        no such version, or the manifests can't be edited safely."""
        if where is not None:
            version = promotion.make_selector(where=where, newest=True)
        elif isinstance(version, str):
            version = promotion.parse_version(version)
        return promotion.promote(self._session, model, to, version)

    def branch(self, edit: Promotion, name: str = "") -> Branch:
        """A new branch for a promotion's commit, not yet created. LacError where it can't be created."""
        name = name or git.make_branch_name("promote", edit.model, edit.alias, f"v{edit.version}")
        return git.prepare_branch(Path(edit.file), name, self._session.environ)

    def plan_promotion(self, edit: Promotion) -> Plan:
        """The plan of a promotion: of the edited manifests' plan, the part that is about the alias."""
        return promotion.plan_promotion(self._session, edit)

    # --- saved plans

    def save_plan(self, plan: Plan) -> bytes:
        """The bytes of a plan file, sealed with the key in LAC_PLAN_KEY where there is one."""
        return saved_plans.save_plan(self._session, plan)

    def read_plan(self, data: bytes) -> SavedPlan:
        """The plan of a plan file's bytes. LacError where it was modified, or is for other stores."""
        return saved_plans.read_plan(self._session, data)

    def check_plan(self, plan: SavedPlan) -> Plan:
        """The plan to apply. LacError if it was applied already, or no longer follows from live state."""
        return saved_plans.check_plan(self._session, plan)

    def manifests_differ(self, plan: SavedPlan) -> bool:
        """Whether the manifests differ from the plan's; an apply ignores the difference."""
        return self._session.manifest.digest() != plan.origin.manifests

    # --- writing

    def apply(
        self,
        plan: Plan,
        *,
        lock_timeout: float = 0.0,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[Event]:
        """Make the changes of `plan`, one event after another; nothing happens unless the events are read.
        Waits up to `lock_timeout` seconds for another apply. Once `stop()` is true, the current operation is
        finished or undone, and the apply ends. LacError where a SQL step fails, which writes nothing then, or
        a policy denies the plan."""
        return apply_plan(self._session, plan, lock_timeout=lock_timeout, stop=stop or (lambda: False))

    def force_unlock(self, lock_id: str) -> None:
        """Release the stack's lock, even if another process holds it. LacError where it has another id."""
        with self._connections.reading() as (ledger, _):
            lock.force_unlock(ledger.registry, self.name, lock_id)

    def forget(self, addresses: Sequence[Address]) -> None:
        """Drop the records of `addresses`; the objects stay. LacError where one has no record."""
        ownership.forget_objects(self._session, addresses)

    def import_objects(
        self,
        addresses: Sequence[Address] | None,
        *,
        write: Callable[[str], None] | None = None,
        take_over: bool = False,
    ) -> Import:
        """Record live objects as they are, and return the YAML that declares them. None imports every object
        that no stack manages. LacError where an address names no object, or another stack's, unless
        `take_over`: then it becomes this stack's, and both histories record it. A declared object is recorded
        only. `write` gets the YAML, if any, before anything is recorded; an error that it raises ends the
        import."""
        return ownership.import_objects(self._session, addresses, write=write, take_over=take_over)

    # --- bearer tokens for endpoints

    def create_token(
        self, user: str, *, seconds: float, endpoints: Sequence[str] = (), description: str = ""
    ) -> NewToken:
        """Make a bearer token that lets an MLflow user into `endpoints`, by default into every endpoint that
        the user may use. It expires after `seconds`, at most 366 days. Only its hash is stored. LacError
        where MLflow has no such user."""
        return tokens.create_token(self._session, user, seconds, endpoints, description)

    def tokens(self) -> tuple[Token, ...]:
        """Every bearer token in the auth database, the first one first, without its value."""
        return tokens.read_tokens(self._session)

    def revoke_tokens(self, ids: Sequence[str]) -> None:
        """Revoke bearer tokens. Endpoints refuse them within 30 seconds. LacError if an ID is unknown; then
        none is revoked."""
        tokens.revoke_tokens(self._session, ids)


def _html(item: Plan | Drift) -> str:
    # imported here: only a notebook calls it
    from .views import notebook

    return notebook.plan(item) if isinstance(item, Plan) else notebook.drift(item)


# the method that notebooks call; attached here, since the types themselves know no view
for _type in (Plan, Drift):
    setattr(_type, "_repr_html_", _html)  # noqa: B010 - the type doesn't declare it
