"""A commit whose answer was lost: the store is asked whether it has what was to be committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from ...model.diagnostics import Diagnostic, LacError
from .store import SqlStore, writing

SETTLE_SECONDS = 15.0
"""For how long an unanswered commit is asked after."""

IsThere = Callable[[Connection], bool]
"""Whether the store has what a transaction wrote. Waits for it, should it still be under way."""


@contextmanager
def certain(store: SqlStore, apply_id: str, is_there: IsThere) -> Iterator[Connection]:
    """`writing`, for which a lost answer is no failure where `is_there` finds what was written.

    LacError `commit-unknown` where the store can't be asked for SETTLE_SECONDS.
    """
    is_committing = False
    try:
        with writing(store) as db:
            yield db
            is_committing = True
    except LacError as error:
        if not is_committing or not _has_arrived(store, apply_id, is_there, error):
            raise


def _has_arrived(store: SqlStore, apply_id: str, is_there: IsThere, error: LacError) -> bool:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            # for writing: only so can it wait for a transaction that is still under way
            with writing(store) as db:
                return is_there(db)
        except LacError:
            if time.monotonic() > deadline:
                raise LacError(_unknown(apply_id, error)) from error
            time.sleep(0.5)


def _unknown(apply_id: str, error: LacError) -> Diagnostic:
    return Diagnostic(
        "commit-unknown",
        "the store didn't confirm whether it committed",
        f"Apply {apply_id}: {error.diagnostics[0].detail}",
        hint="when the store answers again, `lac history` and `lac plan` show the current state;"
        " the commit happened entirely or not at all",
    )
