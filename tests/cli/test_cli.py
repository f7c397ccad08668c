"""The command line: what it loads, what it asks, where it prints, and how it exits."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

import pytest
from sqlalchemy import create_engine, text
from support.fake_ray import paper_ray
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code import __version__
from lifecycle_as_code.cli import VERBS, run
from lifecycle_as_code.engine.background import StopRequest
from lifecycle_as_code.engine.ownership import Import
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError, Source
from lifecycle_as_code.model.events import Done, Event, Failed, Finished, Locked, Progress
from lifecycle_as_code.model.plan import Action, Change, Mode, Plan
from lifecycle_as_code.model.snapshot import Desired, Record
from lifecycle_as_code.model.spec import Address, Key, Spec, Store, parse_address
from lifecycle_as_code.planning.drift import Drift
from lifecycle_as_code.planning.ordering import build_steps, link_changes, sort_changes
from lifecycle_as_code.stores.processes import start_time
from lifecycle_as_code.stores.ray.apps import Settings, ingress_app

ROOT = Path(__file__).resolve().parents[2]


class Model(Spec):
    """A model."""

    kind: ClassVar[str] = "model"
    section: ClassVar[str] = "models"
    store: ClassVar[Store] = Store.REGISTRY
    name: Annotated[str, Key()]
    """Its name."""


FRAUD = Model(name="fraud")
BAD = Diagnostic("bad", "it is bad", "Very.", hint="make it good", at=Source("a.yaml", 2, 1))
WORSE = Diagnostic("worse", "it is worse", "Much.", at=Source("a.yaml", 1, 1))


def planned(*changes: Change, mode: Mode = Mode.NORMAL) -> Plan:
    ordered = sort_changes(link_changes({change.address: change for change in changes}))
    return Plan("payments", "prod", tuple(ordered), build_steps(ordered), mode=mode)


CREATION = Change(FRAUD.address, Store.REGISTRY, Action.CREATE, "declared", None, FRAUD)
CATCHING_UP = Change(FRAUD.address, Store.REGISTRY, Action.RECORD, "already so", FRAUD, FRAUD)
NOTHING = planned()
PLANNING = {
    "destroy": False,
    "refresh": True,
    "refresh_only": False,
    "targets": (),
    "excludes": (),
    "allow": (),
}
"""What a plan is asked for where nothing is said."""
SOMETHING = planned(CREATION)


@dataclass
class FakeStack:
    """Stands for the engine, which has tests of its own; remembers what it was asked."""

    directory: Path = Path()
    planned: Plan = SOMETHING
    found: Drift = field(default_factory=lambda: Drift(NOTHING, NOTHING))
    told: list[Event] = field(
        default_factory=lambda: [Locked("1"), Done(FRAUD.address, Action.CREATE), Finished("1", 1, 0, 0)]
    )
    taken: Import = field(default_factory=lambda: Import((FRAUD.address,), (), "models:\n  - name: fraud\n"))
    error: Exception | None = None
    refusal: Exception | None = None
    during: Callable[[], None] = lambda: None
    opened: dict[str, Any] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    stopped: bool = False
    warnings: tuple[Diagnostic, ...] = ()
    desired: Desired = field(default_factory=lambda: Desired({FRAUD.address: FRAUD}))
    included: bool = True
    settings: Any = field(default_factory=lambda: SimpleNamespace(include=()))
    commit_warning: None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(path.resolve() for path in Path(self.root).rglob("*.yaml")) if self.included else ()

    @property
    def root(self) -> str:
        return next((place.file.rpartition("/")[0] for place in self.desired.places.values()), ".")

    def open(self, path: str, **settings: Any) -> FakeStack:
        self.opened = {"path": path, **settings}
        if self.error:
            raise self.error
        return self

    def plan(self, **settings: Any) -> Plan:
        self.asked.append(("plan", settings))
        return self.planned

    def drift(self, ignore: Sequence[str]) -> Drift:
        self.asked.append(("drift", ignore))
        return self.found

    def apply(self, plan: Plan, *, lock_timeout: float, stop: Callable[[], bool]) -> Iterator[Event]:
        self.asked.append(("apply", lock_timeout))
        try:
            for event in self.told:
                yield event
                self.during()
                if stop():
                    raise StopRequest
        finally:
            self.stopped = True

    def records(self) -> tuple[Record, ...]:
        return (Record(FRAUD.address, Store.REGISTRY, FRAUD),)

    def forget(self, addresses: list[Address]) -> None:
        self.asked.append(("forget", addresses))

    def show(self, address: Address) -> Any:
        spec = FRAUD if address == FRAUD.address else None
        return SimpleNamespace(address=address, desired=spec, recorded=None, live=None)

    def import_objects(
        self,
        addresses: list[Address] | None,
        *,
        write: Callable[[str], None] | None = None,
        take_over: bool = False,
    ) -> Import:
        if self.refusal:
            raise self.refusal
        if write is not None and self.taken.yaml:
            write(self.taken.yaml)
        self.asked.append(("adopt", addresses))
        return self.taken

    def parse_address(self, text: str) -> Address:
        return parse_address(text, {"model": Model})


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeStack:
    fake = FakeStack(tmp_path)
    monkeypatch.setitem(
        sys.modules, "lifecycle_as_code.stack", SimpleNamespace(Stack=fake, StopRequest=StopRequest)
    )
    monkeypatch.delenv("LAC_ENV", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    return fake


@pytest.fixture
def somebody_there(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A person at a terminal, who answers what the test says."""

    def answers(line: str) -> None:
        stdin = io.StringIO(f"{line}\n")
        stdin.isatty = lambda: True  # type: ignore[method-assign]  # a terminal of this test's own
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return answers


Said = pytest.CaptureFixture[str]


def lac(*args: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own."""
    command = [sys.executable, "-m", "lifecycle_as_code", *args]
    settings = {"cwd": ROOT, "capture_output": True, "text": True, "check": False, **settings}
    return subprocess.run(command, **settings)


# --- what it loads

HEAVY = {
    "pydantic",
    "rich",
    "yaml",
    "jinja2",
    "sqlalchemy",
    "deepdiff",
    "httpx",
    "mlflow",
    "ray",
    "importlib.metadata",
}


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["plan", "--help"], ["apply", "--help"]], ids=" ".join
)
def test_help_loads_click_and_little_else(args: list[str]) -> None:
    program = (
        f"import sys; from lifecycle_as_code.cli import run; run({args!r}); print(*sys.modules, sep='\\n')"
    )
    listed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(listed.stdout.splitlines())
    assert not HEAVY & loaded


def test_the_help_of_the_command_imports_no_verb() -> None:
    program = (
        "import sys; from lifecycle_as_code.cli import run; run(['--help']); print(*sys.modules, sep='\\n')"
    )
    listed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ours = {name for name in listed.stdout.splitlines() if name.startswith("lifecycle_as_code")}
    assert ours == {
        "lifecycle_as_code",
        *(f"lifecycle_as_code.cli{part}" for part in ("", ".group", ".options", ".streams")),
    }


def test_every_verb_of_the_table_is_there_and_documented(capsys: Said) -> None:
    for section in VERBS.values():
        for verb in section:
            assert run([verb, "--help"]) == 0
            shown = capsys.readouterr().out
            assert f"Usage: lac {verb}" in shown
            assert "Shared options:" in shown


def test_the_version_is_one_line(capsys: Said) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"lac {__version__}\n"


def test_python_m_is_the_command() -> None:
    assert lac("--version").stdout == f"lac {__version__}\n"


# --- exit codes


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    "args",
    [
        [],
        ["paln"],
        ["--nonsense"],
        ["plan", "--nonsense"],
        ["plan", "surplus"],
        ["show"],
        ["plan", "--refresh=perhaps"],
        ["plan", "--var", "novalue"],
        ["apply", "--lock-timeout", "soon"],
        ["import"],
        ["import", "model.fraud", "--all"],
        ["kinds", "modell"],
        ["state"],
        ["state", "lst"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_an_error_and_not_a_difference(args: list[str], capsys: Said) -> None:
    assert run(args) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err


def test_an_unknown_verb_gets_a_hint(capsys: Said) -> None:
    run(["paln"])
    assert "did you mean `plan`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plan", "args", "code"),
    [
        (NOTHING, [], 0),
        (SOMETHING, [], 0),
        (NOTHING, ["--detailed-exitcode"], 0),
        (SOMETHING, ["--detailed-exitcode"], 2),
        (planned(CATCHING_UP), ["--detailed-exitcode"], 0),
    ],
    ids=["nothing", "something", "nothing, detailed", "something, detailed", "only records, detailed"],
)
def test_two_means_a_difference_and_nothing_else(
    plan: Plan, args: list[str], code: int, stack: FakeStack
) -> None:
    stack.planned = plan
    assert run(["plan", *args]) == code
    assert run(["plan", *args, "--json"]) == code


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (Drift(NOTHING, NOTHING), 0),
        (Drift(NOTHING, SOMETHING), 0),
        (Drift(SOMETHING, NOTHING), 2),
        (Drift(SOMETHING, None, (BAD,)), 2),
        (Drift(NOTHING, None, (BAD,)), 1),
    ],
    ids=["clean", "pending", "drift", "drift, no plan", "no plan"],
)
def test_drift_exits_with_two_and_pending_changes_do_not(
    found: Drift, code: int, stack: FakeStack, capsys: Said
) -> None:
    stack.found = found
    assert run(["drift"]) == code
    capsys.readouterr()
    assert run(["drift", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["drift"] is (code == 2)


# --- errors


def test_every_problem_is_told_on_stderr_in_file_order(stack: FakeStack, capsys: Said) -> None:
    stack.error = LacError(BAD, WORSE)
    assert run(["plan"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{WORSE}\n{BAD}\n"


@pytest.mark.parametrize("verb", ["plan", "apply --auto-approve", "drift", "validate"])
def test_with_json_the_problems_are_a_document_too(verb: str, stack: FakeStack, capsys: Said) -> None:
    stack.error = LacError(BAD, WORSE)
    assert run([*verb.split(), "--json"]) == 1
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["format_version"] == "1.2"
    assert [problem["code"] for problem in document["diagnostics"]] == ["worse", "bad"]
    assert "error[bad]" in said.err


def test_a_usage_error_is_a_document_too(capsys: Said) -> None:
    assert run(["plan", "--nonsense", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["diagnostics"][0]["code"] == "usage"


def test_what_nobody_expected_is_short_unless_asked(
    stack: FakeStack, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.error = RuntimeError("boom")
    monkeypatch.delenv("LAC_DEBUG", raising=False)
    assert run(["plan"]) == 1
    said = capsys.readouterr().err
    assert "error[unexpected]" in said
    assert "RuntimeError: boom" in said
    assert "Traceback" not in said
    monkeypatch.setenv("LAC_DEBUG", "1")
    assert run(["plan"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_is_cut_short(stack: FakeStack, capsys: Said) -> None:
    stack.error = RuntimeError("boom " * 100_000)
    assert run(["plan"]) == 1
    assert len(capsys.readouterr().err) < 1_000


def test_whoever_stops_reading_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = lac("kinds", "--all", stdout=writer, stderr=subprocess.PIPE, capture_output=False)
    os.close(writer)
    assert ended.returncode == 0
    assert ended.stderr == ""


def test_a_log_that_is_not_utf_8_gets_escapes() -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert lac("kinds", "--all", env=environ).returncode == 0


# --- options


def test_shared_options_may_stand_on_either_side_of_the_verb(stack: FakeStack) -> None:
    before = ["-C", "d", "-e", "prod", "--var", "a=1", "--var-file", "f", "--no-color"]
    assert run([*before, "plan"]) == 0
    first = stack.opened
    assert run(["plan", *before]) == 0
    assert stack.opened == first
    assert first == {
        "path": "d",
        "env": "prod",
        "variables": {"a": "1"},
        "var_files": [Path("f")],
        "manifests": True,
    }


def test_the_nearest_option_wins_and_variables_add_up(stack: FakeStack) -> None:
    assert (
        run(["-e", "dev", "--var", "a=1", "--var", "b=1", "state", "-e", "prod", "list", "--var", "b=2=3"])
        == 0
    )
    assert stack.opened["env"] == "prod"
    assert stack.opened["variables"] == {"a": "1", "b": "2=3"}


def test_the_environment_may_come_from_outside(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAC_ENV", "dev")
    run(["plan"])
    assert stack.opened["env"] == "dev"
    run(["-e", "prod", "plan"])
    assert stack.opened["env"] == "prod"


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        ([], {}),
        (["--destroy"], {"destroy": True}),
        (["--refresh=false"], {"refresh": False}),
        (["--refresh=true", "--no-input"], {}),
        (["--refresh"], {}),
        (["--refresh-only"], {"refresh_only": True}),
        (["--target", "a.b", "--target=c.*"], {"targets": ("a.b", "c.*")}),
        (["--exclude", "a.b"], {"excludes": ("a.b",)}),
        (["--allow=mass-deletion", "--allow=protected"], {"allow": ("mass-deletion", "protected")}),
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["plan", "apply --auto-approve"])
def test_plan_and_apply_pass_on_what_they_were_told(
    verb: str, args: list[str], asked: dict[str, Any], stack: FakeStack
) -> None:
    assert run([*verb.split(), *args]) == 0
    assert stack.asked[0] == ("plan", {**PLANNING, **asked})


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--allow=mass-deletions"], "did you mean `mass-deletion`"),
        (["--refresh-only", "--destroy"], "--refresh-only can't be combined"),
        (["--refresh-only", "--refresh=false"], "--refresh-only can't be combined"),
    ],
    ids=str,
)
def test_what_makes_no_plan_is_a_usage_error(args: list[str], says: str, capsys: Said) -> None:
    assert run(["plan", *args]) == 1
    told = capsys.readouterr().err
    assert "error[usage]" in told
    assert says in told


# --- apply


def test_without_a_terminal_apply_fails_at_once(stack: FakeStack, capsys: Said) -> None:
    for args in (["apply"], ["destroy"], ["apply", "--no-input"]):
        assert run(args) == 1
        assert "--auto-approve" in capsys.readouterr().err
    assert stack.opened == {}


@pytest.mark.usefixtures("stack")
def test_json_leaves_no_room_for_a_question(capsys: Said, somebody_there: Callable[[str], None]) -> None:
    somebody_there("yes")
    assert run(["apply", "--json"]) == 1
    assert "approval-needed" in capsys.readouterr().err


def test_no_input_asks_nobody_even_when_somebody_is_there(
    stack: FakeStack, somebody_there: Callable[[str], None]
) -> None:
    somebody_there("yes")
    assert run(["apply", "--no-input"]) == 1
    assert stack.asked == []


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("y", 1), ("", 1), ("no", 1), ("YES", 1)])
def test_only_yes_is_a_yes(
    answer: str, code: int, stack: FakeStack, capsys: Said, somebody_there: Callable[[str], None]
) -> None:
    somebody_there(answer)
    assert run(["apply"]) == code
    said = capsys.readouterr()
    assert "+ model.fraud" in said.out
    assert "Stack payments, environment prod. Apply these changes?" in said.err
    assert [what for what, _ in stack.asked] == (["plan", "apply"] if code == 0 else ["plan"])
    assert ("Nothing was applied." in said.err) is (code == 1)


def test_an_apply_in_a_log_is_plain_lines(stack: FakeStack, capsys: Said) -> None:
    stack.told[1:1] = [Progress("waiting"), Progress("waiting")]
    assert run(["apply", "--auto-approve"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-6:] == [
        "Plan: 1 to create, 0 to update, 0 to delete.",
        "",
        "  … waiting",
        "  ✓ model.fraud created",
        "",
        "Apply complete: 1 created, 0 updated, 0 deleted.",
    ]
    assert said.err == ""


def test_what_failed_or_was_held_back_exits_with_one_and_says_the_way_out(
    stack: FakeStack, capsys: Said
) -> None:
    stack.told = [Locked("1"), Failed(FRAUD.address, BAD), Finished("1", 0, 1, 1)]
    assert run(["apply", "--auto-approve"]) == 1
    said = capsys.readouterr().err
    assert str(BAD) in said
    assert "1 failed, 1 skipped" in said
    assert "then run `lac apply` again" in said


def test_an_apply_that_is_refused_half_way_tells_what_was_done(stack: FakeStack, capsys: Said) -> None:
    def refuse() -> None:
        raise LacError(BAD)

    stack.told, stack.during = [Done(FRAUD.address, Action.CREATE)], refuse
    assert run(["apply", "--auto-approve"]) == 1
    said = capsys.readouterr().err
    assert "Apply ended early: 1 created" in said
    assert str(BAD) in said


@pytest.mark.usefixtures("stack")
def test_an_apply_as_json_is_a_plan_and_events_one_a_line(capsys: Said) -> None:
    assert run(["apply", "--auto-approve", "--json"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["type"] for document in documents] == ["plan", "locked", "done", "finished"]
    assert documents[0]["plan"]["summary"]["create"] == 1


def test_nothing_to_apply_takes_no_lock(stack: FakeStack, capsys: Said) -> None:
    stack.planned = NOTHING
    assert run(["apply", "--auto-approve"]) == 0
    assert "No changes." in capsys.readouterr().out
    assert run(["apply", "--auto-approve", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["complete"] is True
    assert all(what == "plan" for what, _ in stack.asked)


def test_records_catch_up_without_a_question(stack: FakeStack, somebody_there: Callable[[str], None]) -> None:
    somebody_there("no")
    stack.planned, stack.told = planned(CATCHING_UP), [Finished("1", 1, 0, 0)]
    assert run(["apply"]) == 0
    assert stack.asked[-1][0] == "apply"


def test_destroy_plans_a_destruction_and_says_so(
    stack: FakeStack, capsys: Said, somebody_there: Callable[[str], None]
) -> None:
    deletion = Change(FRAUD.address, Store.REGISTRY, Action.DELETE, "no longer declared", FRAUD, None)
    stack.planned = planned(deletion, mode=Mode.DESTROY)
    somebody_there("yes")
    assert run(["destroy"]) == 0
    assert stack.asked[0] == ("plan", {**PLANNING, "destroy": True})
    assert "Delete all of these objects?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("10s", 10), ("3m", 180), ("1h30m", 5400), ("500ms", 0.5), ("1.5m", 90)],
    ids=str,
)
def test_lock_timeouts_are_written_as_terraform_does(text: str, seconds: float, stack: FakeStack) -> None:
    assert run(["apply", "--auto-approve", "--lock-timeout", text]) == 0
    assert stack.asked[-1] == ("apply", seconds)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_the_first_signal_asks_the_apply_to_end(number: int, stack: FakeStack, capfd: Said) -> None:
    before = signal.getsignal(number)
    stack.during = lambda: os.kill(os.getpid(), number)
    assert run(["apply", "--auto-approve"]) == 1
    said = capfd.readouterr().err
    assert "press Ctrl-C again to abort" in said
    assert "stopped on request" in said
    assert stack.stopped
    assert signal.getsignal(number) is before


def test_the_second_signal_aborts_at_once_and_still_lets_go_of_locks(stack: FakeStack, capfd: Said) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    stack.during = twice
    assert run(["apply", "--auto-approve"]) == 1
    assert "error[aborted]" in capfd.readouterr().err
    assert stack.stopped


def test_an_apply_that_nobody_reads_any_more_stops_between_effects(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lifecycle_as_code.cli import execution

    monkeypatch.setattr(execution, "is_abandoned", lambda: True)
    assert run(["apply", "--auto-approve"]) == 1
    assert stack.stopped


# --- streams that are closed, full, or read no more

STREAMS = {
    "stdout closed": (">&-", {"plan --detailed-exitcode": 2, "plan --json": 0}),
    "stderr closed": ("2>&-", {"plan --detailed-exitcode": 2, "apply": 1}),
    "stdin closed": ("<&-", {"apply": 1}),
    "all closed": ("<&- >&- 2>&-", {"apply --auto-approve": 0}),
    "stdout full": (">/dev/full", {"plan --json": 1, "--help": 1, "apply --auto-approve": 0}),
    "stderr full": ("2>/dev/full", {"plan --detailed-exitcode": 2, "nope": 1}),
    "nobody reads": ("| true", {"plan --detailed-exitcode": 2, "kinds --all": 0}),
}


@pytest.fixture(scope="module")
def one_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack on a database of its own."""
    directory = tmp_path_factory.mktemp("streams")
    (directory / "lac.yaml").write_text(f"name: streams\nstore: {fresh_sqlite(directory)}\n")
    (directory / "m.yaml").write_text("registered_models:\n")
    return directory


@pytest.mark.parametrize(("how", "codes"), STREAMS.values(), ids=STREAMS)
def test_the_exit_code_says_what_happened_whatever_became_of_the_streams(
    how: str, codes: dict[str, int], one_stack: Path
) -> None:
    said = one_stack / "said"
    for command, code in codes.items():
        # there is always something to apply
        with (one_stack / "m.yaml").open("a") as manifest:
            manifest.write(f"- name: m{manifest.tell()}\n")
        lac = f"'{sys.executable}' -m lifecycle_as_code -C '{one_stack}' {command}"
        shell = f"{lac} 2>'{said}' {how}; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", shell], check=False, stdout=subprocess.DEVNULL)
        assert done.returncode == code, command
        assert "Traceback" not in said.read_text()
        assert "error[unexpected]" not in said.read_text()
        assert ("output-lost" in said.read_text()) == (how == ">/dev/full")


# --- objects


@pytest.mark.usefixtures("stack")
def test_state_list_shows_addresses_one_a_line(capsys: Said) -> None:
    assert run(["state", "list"]) == 0
    assert capsys.readouterr().out == "model.fraud\n"
    assert run(["state", "list", "model.*", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"][0]["address"] == "model.fraud"
    assert run(["state", "list", "other.*"]) == 0
    assert capsys.readouterr().out == ""


def test_state_rm_forgets_and_says_what_is_still_declared(stack: FakeStack, capsys: Said) -> None:
    assert run(["state", "rm", "model.fraud", "model.fraud"]) == 0
    said = capsys.readouterr()
    assert said.out == "removed model.fraud\n"
    assert "still declared" in said.err
    assert stack.asked == [("forget", [FRAUD.address])]


def test_a_dry_run_forgets_nothing(stack: FakeStack, capsys: Said) -> None:
    assert run(["state", "rm", "--dry-run", "model.fraud"]) == 0
    assert capsys.readouterr().out == "would remove model.fraud\n"
    assert run(["state", "rm", "--dry-run", "model.other"]) == 1
    assert stack.asked == []


@pytest.mark.usefixtures("stack")
def test_show_says_when_an_object_is_nowhere(capsys: Said) -> None:
    assert run(["show", "model.fraud"]) == 0
    assert run(["show", "model.other"]) == 1
    assert "There is no such object" in capsys.readouterr().err


def test_import_writes_a_new_file_beside_the_others(stack: FakeStack, tmp_path: Path, capsys: Said) -> None:
    place = Source(str(tmp_path / "models/fraud.yaml"), 1, 1)
    stack.desired = Desired({FRAUD.address: FRAUD}, {FRAUD.address: place})
    (tmp_path / "models").mkdir()
    assert run(["import", "model.fraud"]) == 0
    assert "Imported 1 object; declared in" in capsys.readouterr().out
    assert (tmp_path / "models/imported.yaml").read_text() == stack.taken.yaml
    assert run(["import", "--all"]) == 0
    assert (tmp_path / "models/imported-2.yaml").read_text() == stack.taken.yaml
    assert stack.asked == [("adopt", [FRAUD.address]), ("adopt", None)]


def test_import_takes_nothing_over_where_its_file_would_not_belong_to_the_stack(
    stack: FakeStack, tmp_path: Path, capsys: Said
) -> None:
    stack.desired, stack.included = Desired(), False
    assert run(["-C", str(tmp_path), "import", "--all"]) == 1
    assert "not-included" in capsys.readouterr().err
    assert stack.asked == []
    assert not (tmp_path / "imported.yaml").exists()


def test_import_never_overwrites_and_then_takes_nothing_over(
    stack: FakeStack, tmp_path: Path, capsys: Said
) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    assert run(["import", "--all", "--out", str(tmp_path / "mine.yaml")]) == 1
    assert "cannot-write" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert stack.asked == []


FOUND = {
    "a folder that isn't there": (["models/*.yaml"], "models/imported.yaml"),
    "a folder that is there, and empty": (["empty/*.yml"], "empty/imported.yml"),
    "a name before and after": (["a/team-*-models.yaml"], "a/team-imported-models.yaml"),
    "any folder": (["teams/*/models.yaml"], "teams/imported/models.yaml"),
    "everything below": (["deep/**"], "deep/imported.yaml"),
    "the stack's directory, if that is among them": (["models/*.yaml", "*.yaml"], "imported.yaml"),
    "the first that takes YAML": (["t/*.yaml.j2", "v/[ab].yaml", "m/*"], "m/imported.yaml"),
}


@pytest.mark.parametrize(("include", "file"), FOUND.values(), ids=FOUND)
def test_import_writes_where_include_finds_it(
    include: list[str], file: str, tmp_path: Path, capsys: Said
) -> None:
    store = fresh_sqlite(tmp_path)
    stack = tmp_path / "stack"
    (stack / "empty").mkdir(parents=True)
    (stack / "lac.yaml").write_text(f'name: test\nstore: "{store}"\ninclude: {json.dumps(include)}\n')
    engine = create_engine(store)
    with engine.begin() as db:
        db.execute(text("INSERT INTO registered_models (name, workspace) VALUES ('fraud', 'default')"))
    engine.dispose()
    assert run(["-C", str(stack), "import", "--all"]) == 0
    assert f"declared in {stack / file}." in capsys.readouterr().out
    assert {str(path.relative_to(stack)) for path in stack.rglob("*.y*ml")} == {"lac.yaml", file}
    assert run(["-C", str(stack), "plan", "--detailed-exitcode"]) == 0


def test_where_include_finds_nothing_new_nothing_is_left(stack: FakeStack, tmp_path: Path) -> None:
    stack.desired, stack.included = Desired(), False
    stack.settings.include = ("models/new/*.yaml", "fraud.yaml")
    assert run(["-C", str(tmp_path), "import", "--all"]) == 1
    assert [*tmp_path.iterdir()] == []


def test_an_import_that_fails_leaves_no_file(stack: FakeStack, tmp_path: Path) -> None:
    stack.refusal = LacError(BAD)
    assert run(["import", "--all", "--out", str(tmp_path / "new.yaml")]) == 1
    assert not (tmp_path / "new.yaml").exists()


def test_import_may_print_instead(stack: FakeStack, capsys: Said) -> None:
    assert run(["import", "--all", "--out", "-"]) == 0
    said = capsys.readouterr()
    assert said.out == stack.taken.yaml
    assert "the next plan deletes" in said.err


# --- the rest


def test_validate_counts_and_warns(stack: FakeStack, capsys: Said) -> None:
    stack.warnings = (Diagnostic("odd", "it is odd", "", severity="warning"),)
    assert run(["validate"]) == 0
    said = capsys.readouterr()
    assert said.out == "Valid: 1 object declared.\n"
    assert "warning[odd]" in said.err


def test_init_writes_a_starter_and_overwrites_nothing(tmp_path: Path, capsys: Said) -> None:
    home = tmp_path / "Card Payments"
    assert run(["-C", str(home), "init"]) == 0
    assert "name: card-payments" in (home / "lac.yaml").read_text()
    written = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert {"lac.yaml", "models/hello.yaml", ".gitignore"} <= written
    for file in ("lac.yaml", "models/hello.yaml"):
        header = (home / file).read_text().splitlines()[0]
        assert ((home / file).parent / header.partition("$schema=")[2]).is_file()
    (home / "lac.yaml").write_text("mine")
    (home / "models/hello.yaml").unlink()
    assert run(["-C", str(home), "init"]) == 1
    assert "already-there" in capsys.readouterr().err
    assert (home / "lac.yaml").read_text() == "mine"
    assert not (home / "models/hello.yaml").exists()


def test_init_makes_the_directory_that_it_is_given(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "new/card payments"]) == 0
    assert "Next: `lac -C 'new/card payments' plan`" in capsys.readouterr().out
    assert run(["-C", "new/card payments", "validate"]) == 0
    assert run(["-C", "new", "init", "card payments"]) == 1
    assert "already-there" in capsys.readouterr().err
    assert run(["init"]) == 0
    assert "Next: `lac plan`" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["plan", "status"])
def test_below_a_stack_the_way_to_it_is_told(
    verb: str, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lac.yaml").write_text("name: a\n")
    (tmp_path / "models" / "eu").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models" / "eu")
    assert run([verb]) == 1
    assert "use `-C ../..`" in capsys.readouterr().err


def test_kinds_are_listed_and_told_in_full(capsys: Said) -> None:
    assert run(["kinds"]) == 0
    assert "registered_models:" in capsys.readouterr().out
    assert run(["kinds", "model_aliases"]) == 0
    assert "address  model_alias.<model>/<alias>" in capsys.readouterr().out


def test_schemas_are_printed_or_written(tmp_path: Path, capsys: Said) -> None:
    for which, title in (("manifest", "lac manifest"), ("project", "lac.yaml")):
        assert run(["schema", which]) == 0
        assert json.loads(capsys.readouterr().out)["title"] == title
    assert run(["schema", "--out", str(tmp_path / "schemas")]) == 0
    assert {path.name for path in tmp_path.glob("schemas/*")} == {"manifest.schema.json", "lac.schema.json"}


@pytest.mark.parametrize("args", [["init", "{}"], ["init", "{}/new"], ["schema", "--out", "{}"]])
def test_a_file_in_the_place_of_a_directory_is_named(args: list[str], tmp_path: Path, capsys: Said) -> None:
    file = tmp_path / "file"
    file.touch()
    assert run([arg.format(file) for arg in args]) == 1
    error = capsys.readouterr().err
    assert str(file) in error
    assert "hint: choose another path" in error
    assert "Errno" not in error


@pytest.mark.parametrize("command", ["schema --out /proc/lac", "plan -o /proc/lac"])
def test_a_path_that_cannot_be_written_has_a_way_out(tmp_path: Path, capsys: Said, command: str) -> None:
    assert run(["-C", str(tmp_path), "init"]) == 0
    assert run(["-C", str(tmp_path), *command.split()]) == 1
    error = capsys.readouterr().err
    assert "/proc/lac: " in error
    assert "hint: check the path and its permissions, or choose another one" in error


@pytest.mark.parametrize("moves", [["a a"], ["a b", "b a"]], ids=["to itself", "a swap"])
def test_validate_refuses_moves_that_cannot_be(tmp_path: Path, capsys: Said, moves: list[str]) -> None:
    (tmp_path / "lac.yaml").write_text("name: test\nstore: sqlite:///mlflow.db\n")
    blocks = [
        "  - {{from: registered_model.{}, to: registered_model.{}}}\n".format(*move.split()) for move in moves
    ]
    models = "registered_models:\n  - name: a\n  - name: b\n"
    (tmp_path / "models.yaml").write_text(models + "moved:\n" + "".join(blocks))
    assert run(["-C", str(tmp_path), "validate"]) == 1
    assert capsys.readouterr().err.count("error[cannot-move]") == len(moves)


def test_the_starter_is_a_valid_stack_with_something_to_make(tmp_path: Path, capsys: Said) -> None:
    assert run(["-C", str(tmp_path), "init", "--name", "starter"]) == 0
    assert run(["-C", str(tmp_path), "validate"]) == 0
    assert run(["-C", str(tmp_path), "plan", "--detailed-exitcode"]) == 2
    said = capsys.readouterr()
    assert "Plan: 1 to create" in said.out
    assert said.err == ""
    assert not (tmp_path / "mlflow.db").exists()


def test_the_local_ray_needs_a_stack_but_not_a_valid_one(tmp_path: Path, capsys: Said) -> None:
    for verb in ("up", "down", "status"):
        assert run(["-C", str(tmp_path), verb]) == 1
    assert "no-stack" in capsys.readouterr().err
    (tmp_path / "lac.yaml").write_text("{broken")
    assert run(["-C", str(tmp_path), "status"]) == 0
    assert "This stack's Ray is not running" in capsys.readouterr().out
    assert run(["-C", str(tmp_path), "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"format_version": "1.2", "running": False}
    assert run(["-C", str(tmp_path), "down"]) == 0
    # its replicas get the variables that the manifests name
    assert run(["-C", str(tmp_path), "up"]) == 1


def test_status_asks_every_endpoint_itself(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "lac.yaml").write_text("name: here\n")
    (tmp_path / ".lac").mkdir()
    with paper_ray() as paper, subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        for name, weight in (("good", 100), ("mute", 0)):
            row = {"name": "a", "app": f"lac.{name}.a.0", "weight": weight}
            spec = {"apps": {"a": row["app"]}}
            config = ingress_app("here", name, targets=[row], settings=Settings({"mode": "none"}), spec=spec)
            paper.paper.apps[config["name"]] = config
        ray = {
            "address": paper.address,
            "data_port": int(paper.address.rsplit(":", 1)[1]),
            "pid": process.pid,
        }
        ray |= {
            "started": start_time(process.pid),
            "temp_dir": str(tmp_path),
            "mark": "",
            "listen": "0.0.0.0:1",
        }
        (tmp_path / ".lac" / "ray.json").write_text(json.dumps(ray))
        assert run(["-C", str(tmp_path), "status"]) == 0
        said = capsys.readouterr().out.splitlines()
        assert run(["-C", str(tmp_path), "status", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["serving_endpoints"]
        process.kill()
    assert "  good  RUNNING" in said
    silence = "it doesn't answer: /serving-endpoints/mute/ping answers 404"
    assert f"  mute  RUNNING: {silence}" in said
    assert "warning: anyone who reaches 0.0.0.0:1 may use `good`: it has `auth: none`." in said
    assert [(row["name"], row["status"], row["problem"]) for row in rows] == [
        ("good", "RUNNING", None),
        ("mute", "RUNNING", silence),
    ]


def test_every_local_ray_is_listed_where_no_stack_is(tmp_path: Path, capsys: Said) -> None:
    environ = {**os.environ, "LAC_LOCAL_RAY": str(tmp_path)}
    with subprocess.Popen(["sleep", "60"], env=environ, start_new_session=True) as process:
        ray = {"address": "http://127.0.0.1:1", "data_port": 2, "pid": process.pid, "mark": str(tmp_path)}
        ray |= {"started": start_time(process.pid), "temp_dir": str(tmp_path), "directory": "/gone/.lac"}
        (tmp_path / "ray.json").write_text(json.dumps(ray))
        assert run(["-C", str(tmp_path / "nothing"), "status", "--all"]) == 0
        assert f"Ray is running, process {process.pid}." in (said := capsys.readouterr().out)
        assert "stack      /gone (deleted)" in said
        assert run(["status", "--all", "--json"]) == 0
        rays = json.loads(capsys.readouterr().out)["rays"]
        process.kill()
    assert {
        "state": "running",
        "stack": "/gone (deleted)",
        "address": "http://127.0.0.1:1",
        "endpoints": "http://127.0.0.1:2",
        "pid": process.pid,
    } in rays


# --- a terminal


def on_a_terminal(*args: str, **environ: str) -> str:
    """What the real command writes to a terminal of its own."""
    parent, child = pty.openpty()
    env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", **environ}
    command = [sys.executable, "-m", "lifecycle_as_code", *args]
    subprocess.run(command, cwd=ROOT, stdin=child, stdout=child, stderr=child, env=env, check=False)
    os.close(child)
    shown = b""
    try:
        while piece := os.read(parent, 65536):
            shown += piece
    except OSError:
        # Linux's way to say that the other end is closed
        pass
    os.close(parent)
    return shown.decode()


@pytest.mark.parametrize(
    ("args", "environ", "coloured"),
    [
        (["kinds"], {}, True),
        (["kinds"], {"NO_COLOR": "1"}, False),
        (["kinds"], {"TERM": "dumb"}, False),
        (["--no-color", "kinds"], {}, False),
        (["kinds", "--no-color"], {}, False),
        (["kinds", "--nonsense"], {}, True),
        (["kinds", "--nonsense", "--no-color"], {}, False),
    ],
    ids=str,
)
def test_a_terminal_gets_colours_unless_it_says_no(
    args: list[str], environ: dict[str, str], coloured: bool
) -> None:
    assert ("\x1b[" in on_a_terminal(*args, **environ)) is coloured


def test_a_pipe_gets_no_colours() -> None:
    assert "\x1b" not in lac("kinds").stdout
