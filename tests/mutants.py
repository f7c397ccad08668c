"""Break the package on purpose, one rule at a time, and tell which test notices.

`python tests/mutants.py [WORD…]` runs those whose name has one of the words, by default all; it takes minutes
and isn't collected by pytest. Each mutation is made in a copy of the project that goes afterwards.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist")

FAILPOINTS = "tests/integration/test_failpoints.py"
RACES = "tests/integration/test_races.py"
EXECUTOR = "tests/engine/apply/test_executor.py"
LOCK = "tests/stores/state/test_lock.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One rule left out: texts of a file and what stands there instead, and where its test should be.

    `tests`: arguments of pytest, the likeliest first.
    """

    name: str
    file: str
    texts: Sequence[tuple[str, str]]
    tests: Sequence[str]


MUTATIONS = (
    Mutation(
        "records in a transaction of their own",
        "engine/apply/executor.py",
        [
            (
                "            self.journal.record(db, _records(changes), obsolete, changes)\n",
                "        with self.journal.writing() as db:\n"
                "            self.journal.record(db, _records(changes), obsolete, changes)\n",
            )
        ],
        [FAILPOINTS, "-k", "crash and changes and sqlite"],
    ),
    Mutation(
        "deletions in the order of creation",
        "engine/apply/transaction.py",
        [("    for kind in reversed(rows):", "    for kind in rows:")],
        [FAILPOINTS, "-k", "crash and changes and sqlite"],
    ),
    Mutation(
        "no look again before writing",
        "engine/apply/executor.py",
        [("        refuse_stale_rows(self.kinds, db, part, self.recorded, self.plan.moves)\n", "")],
        [RACES, "-k", "saved_plans and sqlite"],
    ),
    Mutation(
        "no look again in the switch",
        "engine/apply/executor.py",
        [
            (
                "        part = changes if self.is_checked else self.plan.changes\n",
                "        part = [] if self.is_checked else self.plan.changes\n",
            )
        ],
        [EXECUTOR, "-k", "moved_during and sqlite"],
    ),
    Mutation(
        "everybody gets the lock",
        "stores/state/lock.py",
        [
            ("        if holder := self._holder(db, row):\n            return holder\n", ""),
            ("and (row := self._holder(db, _row(db, self._stack)))", "and (row := None)"),
        ],
        [LOCK, "-k", "waits_is_told or says_who_holds_it"],
    ),
    Mutation(
        "no fence",
        "stores/state/lock.py",
        [("self._mine).values(lease)).rowcount != 1:", "self._mine).values(lease)).rowcount > 1:")],
        [LOCK, "-k", "who_lost_the_lock"],
    ),
    Mutation(
        "nothing remembered before a warm-up",
        "engine/apply/executor.py",
        [("            self.journal.record(db, [self._pending_record(c) for c in changes])\n", "")],
        [FAILPOINTS, "-k", "crash and endpoint and sqlite"],
    ),
    Mutation(
        "records forgotten before Ray has unmade",
        "engine/apply/executor.py",
        [
            (
                "        results = yield from self._phase(changes, lambda kind: kind.retire)\n",
                "        with self.journal.writing() as db:\n"
                "            self.journal.record(db, [], [(c.address, c.store) for c in changes])\n"
                "        results = yield from self._phase(changes, lambda kind: kind.retire)\n",
            )
        ],
        [FAILPOINTS, "-k", "crash and removal and sqlite"],
    ),
    Mutation(
        "lost commits aren't settled",
        "stores/sql/commit.py",
        [
            (
                "        if not is_committing or not _has_arrived(store, apply_id, is_there, error):\n"
                "            raise\n",
                "        raise\n",
            )
        ],
        [FAILPOINTS, "-k", "answer_is_lost and changes and sqlite"],
    ),
    Mutation(
        "lost commits are taken for done",
        "stores/sql/commit.py",
        [("                return is_there(db)\n", "                return True\n")],
        [FAILPOINTS, "-k", "not_done and changes and sqlite"],
    ),
    Mutation(
        "no guards",
        "planning/planner.py",
        [("        *_guards(world, options),\n", "")],
        ["tests/planning/test_planner.py", "tests/cli/test_cli.py"],
    ),
    Mutation(
        "users' own grants stand in the way",
        "planning/guards.py",
        [("if observed.tombstone or observed.hidden or address", "if observed.tombstone or address")],
        ["tests/planning/test_guards.py"],
    ),
    Mutation(
        "what goes along counts as ours",
        "planning/guards.py",
        [
            (
                "for address in world.deletions if address in world.recorded.ours]",
                "for address in world.deletions]",
            )
        ],
        ["tests/planning/test_guards.py"],
    ),
    Mutation(
        "what is ignored explains changes",
        "planning/decision.py",
        [
            (
                "restrict_to_owned(observed.spec, applied), carry_fields(applied, before, ignored)\n",
                "restrict_to_owned(observed.spec, applied), applied\n",
            )
        ],
        ["tests/planning/test_planner.py"],
    ),
    Mutation(
        "what is ignored is recorded anew",
        "planning/decision.py",
        [
            (
                "not diff(carry_fields(record.spec, before, ignored), declared)",
                "not diff(record.spec, declared)",
            )
        ],
        ["tests/engine/test_plan.py", "-k", "ignored and sqlite"],
    ),
    Mutation(
        "a removed object shows what isn't ours",
        "planning/decision.py",
        [
            (
                "                REMOVED,\n                restrict_to_owned(observed.spec, record.spec),\n",
                "                REMOVED,\n                observed.spec,\n",
            )
        ],
        ["tests/planning/test_planner.py"],
    ),
    Mutation(
        "a restored experiment keeps its description",
        "kinds/experiment.py",
        [("notes.get(ids[after.name], {})", "{}")],
        ["tests/engine/apply/test_transaction.py", "-k", "comes_back and sqlite"],
    ),
    Mutation(
        "a rename is referred to before it is made",
        "planning/ordering.py",
        [("        and renames.isdisjoint(change.after.refs())\n", "")],
        ["tests/planning/test_ordering.py"],
    ),
    Mutation(
        "what stays counts as deleted",
        "engine/apply/transaction.py",
        [('f"{change.address} still exists" if observed is not None else ""', '""')],
        ["tests/engine/apply/test_transaction.py", "-k", "trigger_keeps"],
    ),
    Mutation(
        "history beside the transaction",
        "engine/apply/journal.py",
        [
            (
                "keep, drop)\n                history.note(connection, self.apply_id, *place, lines)\n",
                "keep, drop)\n",
            )
        ],
        [FAILPOINTS, "-k", "crash and first and sqlite"],
    ),
)


def main(words: Sequence[str]) -> int:
    """Print the table; 1 where a mutant survives."""
    survived = 0
    for mutation in MUTATIONS:
        if words and not any(word in mutation.name for word in words):
            continue
        caught = _caught(mutation)
        survived += not caught
        print(f"| {mutation.name} | {caught or 'SURVIVED'} |", flush=True)
    return int(bool(survived))


def _caught(mutation: Mutation) -> str:
    """The first test that fails; nothing where all pass."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as path:
        copy = Path(path) / "project"
        shutil.copytree(ROOT, copy, ignore=LEFT)
        file = copy / "lifecycle_as_code" / mutation.file
        text = file.read_text()
        for before, after in mutation.texts:
            if text.count(before) != 1:
                raise SystemExit(f"{mutation.name}: {mutation.file} doesn't have once:\n{before}")
            text = text.replace(before, after)
        file.write_text(text)
        # `-m pytest` puts the working directory first on the path
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-n",
                "0",
                "-p",
                "no:cacheprovider",
                *mutation.tests,
            ],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), os.environ.get("PYTHONPATH", "")])},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return ""
    if found := re.search(r"^(?:FAILED|ERROR) \S*::(\S+)", done.stdout, re.MULTILINE):
        return found[1]
    raise SystemExit(f"{mutation.name}: the tests didn't run\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
