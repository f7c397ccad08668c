"""Whoever lost the lock can't write any more."""

from __future__ import annotations

import pytest
from engine import Bench, converge

from lifecycle_as_code import journal, lock
from lifecycle_as_code.diagnostics import LacError
from lifecycle_as_code.history import Actor
from lifecycle_as_code.kinds.registered_model import RegisteredModel


def test_a_holder_whose_lock_was_taken_away_writes_nothing(bench: Bench) -> None:
    converge(bench.stack([RegisteredModel(name="fraud")]))
    ledger = bench.stack()._connections.ledger()
    with lock.held(ledger.registry, "test", "the first") as grip:
        late = journal.Journal.begin(ledger, grip, Actor(), "apply", "", "")
        lock.force_unlock(ledger.registry, "test", "the first")
        with (
            lock.held(ledger.registry, "test", "the second"),
            pytest.raises(LacError, match="lock-lost"),
            late.writing() as db,
        ):
            late.record(db, (), [(address, record.store) for address, record in bench.records().items()])
        assert len(bench.records()) == 1
        # nor once that one has ended
        with pytest.raises(LacError, match="lock-lost"):
            late.check()


def test_a_held_lock_keeps_others_away(bench: Bench) -> None:
    converge(bench.stack([RegisteredModel(name="fraud")]))
    registry = bench.stack()._connections.ledger().registry
    with (
        lock.held(registry, "test", "the first"),
        pytest.raises(LacError, match="locked"),
        lock.held(registry, "test", "the second"),
    ):
        pass
