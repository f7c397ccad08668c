"""`Stack`: manifests, stores and cluster put together. What the command line and notebooks use.

stack = Stack.open("infra", env="prod")
plan = stack.plan()
for event in stack.apply(plan):
    ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .engine import git, ownership, promotion, queries, rollback, saved_plans
from .engine.actor import commit_warning
from .engine.adoption import Adopted
from .engine.apply import run
from .engine.background import Stopped
from .engine.git import Branch
from .engine.promotion import Promotion
from .engine.queries import Shown
from .engine.rollback import Rollback
from .engine.session import Core
from .kinds import KINDS
from .kinds.base import Kind
from .model.diagnostics import Diagnostic
from .model.events import Event
from .model.history import Apply
from .model.plan import Mode, Plan
from .model.review import Review
from .model.selector import VersionSelector
from .model.snapshot import Desired, Record
from .model.spec import Address, Spec
from .planning.comparison import Side, States
from .planning.drift import Drift
from .planning.explanation import Explanation
from .planning.planfile import SavedPlan
from .planning.planner import make_refresh
from .planning.targeting import IN_PART, Selection, part_of
from .stores.state import lock

if TYPE_CHECKING:
    from .manifest.load import Manifest
    from .manifest.settings import Settings

__all__ = ["Adopted", "Branch", "Drift", "Promotion", "Rollback", "Shown", "Stack", "Stopped"]


def _show_plan(plan: Plan) -> str:
    # imported here: nobody but a notebook asks for it
    from .views import notebook

    return notebook.plan(plan)


def _show_drift(drift: Drift) -> str:
    from .views import notebook

    return notebook.drift(drift)


# what notebooks call; attached here, for the types themselves know of no view
for _type, _show in ((Plan, _show_plan), (Drift, _show_drift)):
    setattr(_type, "_repr_html_", _show)  # noqa: B010 - the type doesn't declare it


class Stack:
    """A directory of manifests and the stores that it describes. Holds no connection between calls."""

    def __init__(
        self, manifest: Manifest, kinds: Mapping[str, Kind[Any]], environ: Mapping[str, str] | None = None
    ) -> None:
        self._core = Core(manifest, kinds, os.environ if environ is None else environ)
        self._connections = self._core.connections

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
        """Read and check the manifests below `path`, for one environment of its `lac.yaml`.

        `environ` stands for the process's environment. `manifests=False` reads lac.yaml alone: for what needs
        the stores only, whatever state the manifests are in. LacError with every problem at its place.
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
            settings_only=not manifests,
        )
        return cls(manifest, KINDS, environ)

    @property
    def settings(self) -> Settings:
        """What `lac.yaml` says, for the chosen environment."""
        return self._core.settings

    @property
    def name(self) -> str:
        """The stack's name, by which it owns objects in a store that it may share."""
        return self._core.name

    @property
    def environment(self) -> str:
        """The chosen environment, or nothing."""
        return self._core.environment

    @property
    def directory(self) -> Path:
        """Where `lac.yaml` is."""
        return self.settings.directory

    @property
    def desired(self) -> Desired:
        """What the manifests declare, as written."""
        return self._core.manifest.desired

    @property
    def files(self) -> tuple[Path, ...]:
        """The manifests that were read, absolute."""
        return tuple(Path(name).resolve() for name in self._core.manifest.files)

    @property
    def commit_warning(self) -> Diagnostic | None:
        """Why plans and applies won't record their commit; None where they will."""
        return commit_warning(self.directory, self._core.environ)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What the manifests make one wonder about."""
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
        """What `apply` would do. Reads every store and writes nothing. LacError where it can't be done.

        `destroy`: the plan that deletes all that this stack owns. `refresh=False`: believe our records
        of what is ours instead of looking. `refresh_only`: take what changed outside for what was applied.
        `targets` and `excludes`: addresses or patterns that the plan is cut down to. `allow`: guards
        (`guard.GUARDS`) to let through.
        """
        selection = Selection(tuple(targets), tuple(excludes))
        if refresh_only:
            seen = self._core.camera.take(Desired(), resolved=False)
            return make_refresh(
                seen.recorded, seen.live, stack=self.name, environment=self.environment, selection=selection
            )
        desired = Desired(lifecycles=self.desired.lifecycles) if destroy else self.desired
        self._connections.refuse_unreachable(part_of(desired, selection))
        seen = self._core.camera.take(desired, refresh=refresh, selection=selection)
        mode = Mode.DESTROY if destroy else Mode.NORMAL
        options = self._core.options(mode=mode, selection=selection, allow=frozenset(allow))
        plan = self._core.plan(seen, options)
        if not plan.differences:
            return replace(plan, review=Review(choices=seen.desired.choices, rules=self.desired.rules))
        # imported here: most plans have nothing to judge
        from .engine.review import reviewed

        return reviewed(self._core, plan, seen, self.desired.rules)

    def drift(self, ignore: Sequence[str] = ()) -> Drift:
        """What changed outside since our last apply, apart from what the manifests would change.

        `ignore`: addresses or patterns to pass over, beside those that lac.yaml names.
        """
        return queries.drift(self._core, ignore)

    def show(self, address: Address) -> Shown:
        """One object from every side."""
        return queries.shown(self._core, address)

    def explain(self, address: Address) -> Explanation:
        """Why the plan changes an object, or doesn't. LacError where nothing can be planned."""
        return queries.explain(self._core, address)

    def states(self, side: Side, *, written: bool = False) -> States:
        """What one side of a comparison holds, but for a saved plan's. `written`: manifests as they are
        written, without asking a store. LacError where there is no such apply."""
        return queries.states(self._core, side, written=written)

    def records(self) -> tuple[Record, ...]:
        """What this stack last applied, in the order of addresses."""
        return rollback.records(self._core)

    def parse_address(self, text: str) -> Address:
        """An address as people write it. LacError with a hint where it isn't one."""
        return self._core.address(text)

    # --- the past

    def history(self, address: Address | None = None) -> list[Apply]:
        """Every apply of this stack, the first one first; with `address`, those that did something to it."""
        return rollback.history(self._core, address)

    def at(self, moment_ms: int) -> dict[Address, Spec]:
        """What this stack had recorded at that time, in ms since 1970 by the database's clock."""
        return rollback.at(self._core, moment_ms)

    def rollback(self, what: str, *, allow: Collection[str] = ()) -> Rollback:
        """The plan that restores what was before an apply (its id or the beginning of it), or before the last
        change of one object (its address). LacError where that can't be done."""
        return rollback.rollback(self._core, what, allow=allow)

    # --- the manifests, edited

    def promote(
        self,
        model: str,
        *,
        to: str = "champion",
        version: int | str | VersionSelector | None = None,
        where: str | None = None,
    ) -> Promotion:
        """The manifests with an alias of a model at another version, by default the challenger's. Writes
        nothing. LacError where that can't be done.

        `version`: a number, a selector, or one of `3`, `latest`, `@alias`, `run:ID`. `where`: the newest
        version for which this CEL expression is true.
        """
        if where is not None:
            version = promotion.selector(where=where, newest=True)
        elif isinstance(version, str):
            version = promotion.asked(version)
        return promotion.promoted(self._core, model, to, version)

    def branch(self, found: Promotion, name: str = "") -> Branch:
        """A new branch for a promotion's commit, not yet created. LacError where it can't be created."""
        name = name or git.named("promote", found.model, found.alias, f"v{found.version}")
        return git.prepared(Path(found.file), name, self._core.environ)

    def plan_of(self, found: Promotion) -> Plan:
        """What applying a promotion would do: of the plan from the edited manifests, the part that is about
        its alias. LacError where that can't be done."""
        manifest = self._core.manifest.again({found.file: found.text.encode()})
        edited = Stack(manifest, self._core.kinds, self._core.environ)
        plan = edited.plan(targets=[str(found.address)])
        # that it is a part is what was asked for
        return replace(plan, diagnostics=tuple(d for d in plan.diagnostics if d.code != IN_PART))

    # --- saved plans

    def saved(self, plan: Plan) -> bytes:
        """The plan as a file's bytes: sealed, with the key in LAC_PLAN_KEY where there is one."""
        return saved_plans.save(self._core, plan)

    def read_plan(self, data: bytes) -> SavedPlan:
        """A plan from a file's bytes. LacError where it was changed, or isn't this stack's."""
        return saved_plans.read(self._core, data)

    def check_saved(self, plan: SavedPlan) -> Plan:
        """The plan to be applied: what is live is still what it saw, and it still follows from there."""
        return saved_plans.check(self._core, plan)

    def manifests_changed(self, plan: SavedPlan) -> bool:
        """Whether the manifests aren't those that the plan was made from; it is applied as it was
        reviewed."""
        return saved_plans.manifests_changed(self._core, plan)

    # --- writing

    def apply(
        self,
        plan: Plan,
        *,
        lock_timeout: float = 0.0,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[Event]:
        """Do what `plan` says, one event after another; nothing happens unless they are read.

        Waits up to `lock_timeout` seconds for another apply. Once `stop()` is true, the effect at hand
        is finished or undone, and the apply ends. LacError where a SQL step is refused: it wrote nothing; and
        where a policy denies the plan, by its own verdicts or by what is known now.
        """
        return run.carried_out(self._core, plan, lock_timeout=lock_timeout, stop=stop or (lambda: False))

    def force_unlock(self, lock_id: str) -> None:
        """Free the stack's lock, whoever holds it. LacError where it hasn't this id."""
        with self._connections.reading() as (ledger, _):
            lock.force_unlock(ledger.registry, self.name, lock_id)

    def forget(self, addresses: Sequence[Address]) -> None:
        """Drop our records of `addresses`; the objects stay as they are, and stop being ours."""
        ownership.forget(self._core, addresses)

    def adopt(
        self,
        addresses: Sequence[Address] | None,
        *,
        write: Callable[[str], None] | None = None,
        take_over: bool = False,
    ) -> Adopted:
        """Take live objects over: record them as they are, and give the YAML that declares them.

        None takes everything that nobody owns. LacError where one isn't there or belongs to another stack,
        unless `take_over`: then it is that stack's no more, and both histories say so. Objects that are
        already declared are recorded only. `write` is given the YAML, where there is any, before anything is
        recorded; what it raises ends it, and nothing is taken over.
        """
        return ownership.adopt(self._core, addresses, write=write, take_over=take_over)
