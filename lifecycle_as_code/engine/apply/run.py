"""An apply, and every other command that writes for a stack: under the stack's lock, with a journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from ...model.diagnostics import refuse
from ...model.events import Event, Finished, Locked, Warned
from ...model.plan import Mode, Plan
from ...model.spec import Store
from ...stores.state import lock
from ..actor import actor, commit_warning
from ..background import run_in_background
from ..session import Session
from .executor import Executor
from .journal import Journal

if TYPE_CHECKING:
    from ...stores.ray.client import Cluster


@contextmanager
def writing(
    session: Session,
    command: str,
    digest: str = "",
    timeout: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Journal]:
    """The stack's lock and its journal. `digest`: the identity of the plan that is applied. `timeout`: how
    many seconds to wait for another holder of the lock; `tell` gets the progress of the wait. `check` runs
    under the lock, before anything is written, and may refuse."""
    ledger = session.connections.ledger()
    who = actor(session.settings.directory, session.environ)
    beside = None if ledger.together else ledger.auth
    with lock.hold(
        ledger.registry,
        session.name,
        str(uuid4()),
        who=str(who),
        what=command,
        beside=beside,
        timeout=timeout,
        tell=tell,
    ) as lease:
        check()
        journal = Journal.begin(ledger, lease, who, command, session.environment, digest)
        with journal.ending():
            yield journal


def apply_plan(
    session: Session, plan: Plan, *, lock_timeout: float, stop: Callable[[], bool]
) -> Iterator[Event]:
    """Apply `plan`; makes the stores and the Ray that it needs. LacError where a policy denies it."""
    if plan.review.denied:
        # imported here: most plans are judged by no policy
        from ...review.policy.judge import list_denials

        refuse(list_denials(plan))
    command = {Mode.NORMAL: "apply"}.get(plan.mode, str(plan.mode))
    connections = session.connections

    def check() -> None:
        with connections.reading() as (ledger, _), ledger.reading() as db:
            ledger.refuse_second_apply(db, plan)
        # under the lock: an apply that it waited for counts
        if plan.review.rules.policies or session.desired.rules.policies:
            from ..review import refuse_denied

            refuse_denied(session, plan)

    with ExitStack() as contexts:
        yield from connections.create_stores(stop)
        journal = yield from run_in_background(
            lambda tell: contexts.enter_context(
                writing(session, command, plan.plan_id, lock_timeout, tell, check)
            ),
            stop,
        )
        yield Locked(journal.apply_id)
        if warning := commit_warning(session.settings.directory, session.environ):
            yield Warned(warning)
        cluster: Cluster | None = None
        if any(step.store is Store.SERVE for step in plan.steps):
            yield from connections.start_ray(session.desired, session.environ, stop)
            cluster = contexts.enter_context(connections.cluster())
        if cluster is not None:
            contexts.enter_context(cluster.asking(journal.check))
        site = connections.site(journal.store_id)
        executor = Executor(plan, journal, list(session.kinds.values()), site, cluster, stop)
        for event in executor.events():
            if isinstance(event, Finished):
                journal.outcome = event.outcome
            yield event
