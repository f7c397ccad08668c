"""What every command that writes for a stack has: the stack's lock, and a journal that says how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from ...model.diagnostics import refuse
from ...model.events import Event, Finished, Locked, Warned
from ...model.plan import Mode, Plan
from ...model.spec import Store
from ...planning import planfile
from ...stores.state import lock
from ..actor import actor, commit_warning
from ..background import in_background
from ..session import Core
from .executor import Run
from .journal import Journal
from .transaction import refuse_applied

if TYPE_CHECKING:
    from ...stores.ray.client import Cluster


@contextmanager
def writing(
    core: Core,
    command: str,
    digest: str = "",
    timeout: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
    first: Callable[[], None] = lambda: None,
) -> Iterator[Journal]:
    """The stack's lock and its journal. `digest`: the identity of the plan that is carried out. `timeout`:
    how many seconds to wait for another one's lock, which `tell` is told of. `first`: what may still refuse
    it, under the lock."""
    ledger = core.connections.ledger()
    who = actor(core.settings.directory, core.environ)
    beside = None if ledger.together else ledger.auth
    with lock.held(
        ledger.registry,
        core.name,
        str(uuid4()),
        who=str(who),
        what=command,
        beside=beside,
        timeout=timeout,
        tell=tell,
    ) as grip:
        first()
        journal = Journal.begin(ledger, grip, who, command, core.environment, digest)
        with journal.ending():
            yield journal


def carried_out(core: Core, plan: Plan, *, lock_timeout: float, stop: Callable[[], bool]) -> Iterator[Event]:
    """Do what `plan` says; the stores and the Ray that it needs are made first. LacError where a policy
    denies it, by its own verdicts or by what is known now."""
    if plan.review.denied:
        # imported here: most plans are judged by nothing
        from ...review.policy.judge import denials

        refuse(denials(plan))
    command = {Mode.NORMAL: "apply"}.get(plan.mode, str(plan.mode))
    connections = core.connections

    def first() -> None:
        with connections.reading() as (ledger, _), ledger.reading() as db:
            refuse_applied(ledger, db, plan)
        _judge(core, plan)

    with ExitStack() as open_until_done:
        yield from connections.create_stores(stop)
        journal = yield from in_background(
            lambda tell: open_until_done.enter_context(
                writing(core, command, plan.file_id or planfile.digest(plan), lock_timeout, tell, first)
            ),
            stop,
        )
        yield Locked(journal.apply_id)
        if warning := commit_warning(core.settings.directory, core.environ):
            yield Warned(warning)
        cluster: Cluster | None = None
        if any(step.store is Store.SERVE for step in plan.steps):
            yield from connections.start_ray(stop)
            cluster = open_until_done.enter_context(connections.cluster())
        if cluster is not None:
            open_until_done.enter_context(cluster.asking(journal.check))
        site = connections.site(journal.store_id)
        run = Run(plan, journal, list(core.kinds.values()), site, cluster, stop)
        for event in run.events():
            if isinstance(event, Finished):
                journal.outcome = event.outcome
            yield event


def _judge(core: Core, plan: Plan) -> None:
    """LacError where a policy denies the plan by what is known now: with the lock, so that the apply that it
    waited for is seen."""
    if plan.review.rules.policies or core.manifest.desired.rules.policies:
        from ..review import refuse_denied

        refuse_denied(core, plan)
