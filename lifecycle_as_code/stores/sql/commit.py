"""Commits whose answer was lost: ask the store whether the transaction arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from ...model.diagnostics import Diagnostic, LacError
from .store import SqlStore, writing

CONFIRM_SECONDS = 15.0
"""How long to ask about an unanswered commit."""

IsThere = Callable[[Connection], bool]
"""Whether the store has what a transaction wrote. Waits for the transaction if it is still running."""


@contextmanager
def confirm_commit(store: SqlStore, apply_id: str, is_there: IsThere) -> Iterator[Connection]:
    """`writing`, which succeeds after a lost answer if `is_there` finds what the block wrote. LacError
    `commit-unknown` if the store doesn't answer for CONFIRM_SECONDS."""
    is_committing = False
    try:
        with writing(store) as db:
            yield db
            is_committing = True
    except LacError as error:
        if not is_committing or not _has_arrived(store, apply_id, is_there, error):
            raise


def _has_arrived(store: SqlStore, apply_id: str, is_there: IsThere, error: LacError) -> bool:
    deadline = time.monotonic() + CONFIRM_SECONDS
    while True:
        try:
            # a writing transaction, which alone waits for one that is still running
            with writing(store) as db:
                return is_there(db)
        except LacError:
            if time.monotonic() > deadline:
                raise LacError(
                    Diagnostic(
                        "commit-unknown",
                        "the store didn't confirm whether it committed",
                        f"Apply {apply_id}: {error.diagnostics[0].detail}",
                        hint="when the store answers again, `lac history` and `lac plan` show the current"
                        " state; the commit happened entirely or not at all",
                    )
                ) from error
            time.sleep(0.5)
