"""What goes wrong around the actions: their steps in this process, with a `lac` that answers as it is told,
against GitHub's API on loopback.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import httpx
import pytest
from support.github_runner import HEAD, MERGE, REVIEW, ROOT, Runner
from support.loopback_github import Failure, github

SHARED = ROOT / ".github/actions/shared"
sys.path.insert(0, str(SHARED))

import github as api  # noqa: E402 - from the actions' own directory
import lac  # noqa: E402
from subject import Subject  # noqa: E402


def loaded(action: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"action_{action}", ROOT / ".github/actions" / action / "run.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STEPS = {action: loaded(action) for action in ("plan", "apply", "drift")}


class Steps(Runner):
    """A runner whose steps are this process's own functions, and whose `lac` is `answers`, by verb."""

    answers: dict[str, lac.Result]
    verdicts: list[str] | None
    """None where no plan is written."""
    differs: bool

    def run(self, action: str, event: Any, sha: str = MERGE, **inputs: str) -> int:
        environ = self.job(action, event, sha, **inputs)
        printed = StringIO()
        told = mock.patch.object(lac.Lac, "run", self._lac)
        here = mock.patch.dict(os.environ, environ, clear=True)
        with pytest.raises(SystemExit) as ended, here, redirect_stdout(printed), told:
            lac.step(getattr(STEPS[action], action))
        self.ended(printed.getvalue())
        return int(ended.value.code or 0)

    def _lac(self, verb: str, *args: str) -> lac.Result:
        if verb == "plan" and self.verdicts is not None:
            verdicts = [{"outcome": outcome} for outcome in self.verdicts]
            plan = {"review": {"verdicts": verdicts}, "summary": {"difference": self.differs}}
            Path(args[args.index("-o") + 1]).write_text(json.dumps({"plan": plan}))
        return self.answers.get(verb, lac.Result(0, f"what {verb} {' '.join(args[:-1])} prints", ""))


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Steps]:
    (tmp_path / "work").mkdir()
    with github() as held:
        made = Steps(tmp_path / "work", held)
        made.answers, made.verdicts, made.differs = {}, [], True
        yield made


def comments(runner: Runner) -> list[str]:
    return [comment["body"] for comment in runner.github.comments.get(7, [])]


def planned(runner: Steps) -> None:
    """The pull request has a plan, and is merged."""
    assert runner.run("plan", REVIEW) == 0, runner.log
    runner.uploaded()
    runner.merged()


# --- what is kept on GitHub has a name of its own

DIRECTORIES = [
    (".", "."),
    ("stacks/payments/", "stacks/payments"),
    ("./stacks//payments", "stacks/payments"),
    ("/w/stacks/payments", "stacks/payments"),
    ("../elsewhere", "../elsewhere"),
]


@pytest.mark.parametrize(("said", "directory"), DIRECTORIES)
def test_a_directory_is_told_from_the_repositorys_root(said: str, directory: str) -> None:
    job = api.Job({"GITHUB_WORKSPACE": "/w", "LAC_WORKING_DIRECTORY": said, "LAC_ENV": "prod"}, {})
    assert Subject.of(job) == Subject(directory, "prod")
    named = api.Job({**job.environ, "LAC_ENVIRONMENT": "staging"}, {})
    assert Subject.of(named).environment == "staging"


def test_every_stack_and_environment_has_names_of_its_own_that_github_takes() -> None:
    odd = [
        ".",
        "a",
        "b",
        "a-b",
        "a/b",
        "a@b",
        "a--b",
        "a-->b",
        "💳 ünï",
        'q"uo|te',
        "%2F",
        "line\nbreak",
        "`",
        "::",
    ]
    subjects = [Subject(where, named) for where in odd for named in ["", *odd]]
    markers = {subject.marker("lac plan") for subject in subjects}
    artifacts = {subject.artifact(HEAD) for subject in subjects}
    assert len(markers) == len(artifacts) == len(subjects)
    assert not [name for name in artifacts if set(name) & set('":<>|*?\r\n\\/')]
    for marker in markers:
        inside = marker.removeprefix("<!-- ").removesuffix(" -->")
        assert marker == f"<!-- {inside} -->"
        assert "--" not in inside
        assert "\n" not in inside
        assert ">" not in inside


@pytest.mark.parametrize(
    ("directory", "environment", "title"),
    [
        (".", "", "Plan"),
        (".", "prod", "Plan for `prod`"),
        ("stacks/card payments", "prod", "Plan for `prod` in `stacks/card payments`"),
        ("a`<b>", "x\n# y", "Plan"),
        ("d" * 101, "", "Plan"),
    ],
)
def test_titles_name_what_they_are_about(directory: str, environment: str, title: str) -> None:
    assert Subject(directory, environment).title("Plan") == title


def test_stacks_and_environments_of_one_repository_keep_out_of_each_others_way(runner: Steps) -> None:
    plans = []
    for where, named in [("a", "prod"), ("b", "prod"), ("b", "dev"), ("a", "prod")]:
        assert runner.run("plan", REVIEW, working_directory=where, environment=named) == 0
        runner.uploaded()
        plans.append(runner.outputs["plan"])
    assert [body.splitlines()[1] for body in comments(runner)] == [
        "### Plan for `prod` in `a`",
        "### Plan for `prod` in `b`",
        "### Plan for `dev` in `b`",
    ]
    assert len({held["name"] for held in runner.github.artifacts}) == 3
    # a job may make several: none writes over another one's
    assert all(map(os.path.isfile, plans))
    assert len({*plans}) == 4


# --- the plan


def test_two_comments_of_ours_say_the_same(runner: Steps) -> None:
    for _ in range(2):
        runner.github.says(7, "<!-- lac plan . -->\nof an earlier commit", kind="Bot")
    assert runner.run("plan", REVIEW) == 0
    first, second = comments(runner)
    assert first == second
    assert "what show --markdown prints" in first
    assert HEAD[:12] in first


def test_what_others_wrote_is_left_alone(runner: Steps) -> None:
    marker = "<!-- lac plan . -->"
    for body, association in [(f"{marker}\nforged", "NONE"), (f"> {marker}\nquoted", "MEMBER")]:
        runner.github.says(7, body, association=association)
    assert runner.run("plan", REVIEW) == 0
    forged, quoted, ours = comments(runner)
    assert forged.endswith("forged")
    assert quoted.endswith("quoted")
    assert ours.startswith(marker)


def test_no_changes_are_no_news_but_end_what_a_comment_said(runner: Steps) -> None:
    runner.differs = False
    planned(runner)
    assert runner.outputs["changes"] == "false"
    assert runner.run("apply", {}) == 0
    assert comments(runner) == []
    runner.differs = True
    assert runner.run("plan", REVIEW) == 0
    runner.differs = False
    runner.answers["show"] = lac.Result(0, "No changes", "")
    assert runner.run("plan", REVIEW) == 0
    (body,) = comments(runner)
    assert "No changes" in body
    runner.verdicts = ["denied"]
    assert runner.run("plan", {"pull_request": {"number": 8, "head": {"sha": HEAD}}}) == 1
    assert len(runner.github.comments[8]) == 1


def test_a_comment_that_is_deleted_meanwhile_is_written_anew(runner: Steps) -> None:
    said = runner.github.says(7, "<!-- lac plan . -->\nold", association="MEMBER")
    runner.github.deleted.add(said["id"])
    assert runner.run("plan", REVIEW) == 0, runner.log
    assert said["body"].endswith("old")
    assert "what show --markdown prints" in comments(runner)[1]
    assert runner.outputs["comment"] == runner.github.comments[7][1]["html_url"]


def test_a_comment_is_no_longer_than_github_takes(runner: Steps) -> None:
    runner.answers["show"] = lac.Result(0, "x" * 70_000, "")
    assert runner.run("plan", REVIEW) == 0
    assert [len(body) for body in comments(runner)] == [65_536]


@pytest.mark.parametrize("inputs", [{"comment": "false"}, {}], ids=["not wanted", "no pull request"])
def test_without_a_comment_there_is_a_plan_all_the_same(runner: Steps, inputs: dict[str, str]) -> None:
    assert runner.run("plan", REVIEW if inputs else {}, **inputs) == 0
    assert runner.outputs["comment"] == ""
    assert runner.outputs["artifact"] == f"lac-plan-.-{HEAD if inputs else MERGE}"
    assert comments(runner) == []


def test_a_forks_token_that_may_not_write_costs_the_comment_alone(runner: Steps) -> None:
    runner.github.read_only = True
    assert runner.run("plan", REVIEW) == 0, runner.log
    (warning,) = runner.annotations
    assert warning.startswith("::warning title=lac::The pull request's comment couldn't be written.")
    assert "Resource not accessible by integration" in warning
    assert runner.outputs["comment"] == ""


@pytest.mark.parametrize(
    ("code", "verdicts", "outputs"),
    [
        (0, ["passed", "warned"], {"changes": "true", "denied": "false"}),
        (1, ["passed", "denied"], {"changes": "true", "denied": "true"}),
        (1, [], {"changes": "unknown", "denied": "unknown"}),
        (-9, None, {"changes": "unknown", "denied": "unknown"}),
    ],
    ids=["planned", "denied", "failed with a plan written", "killed"],
)
def test_how_a_plan_ended_is_told(
    runner: Steps, code: int, verdicts: list[str], outputs: dict[str, str]
) -> None:
    runner.verdicts = verdicts
    runner.answers["plan"] = lac.Result(code, "::error title=t::m", "error[unexpected]: a crash")
    assert runner.run("plan", REVIEW) == (1 if code else 0)
    assert outputs.items() <= runner.outputs.items()
    known = outputs["changes"] == "true"
    assert bool(runner.outputs["plan"]) is bool(runner.outputs["artifact"]) is known
    (body,) = comments(runner)
    assert ("error[unexpected]" in body) is not known
    assert runner.annotations == ["::error title=t::m"]


def test_what_a_manifest_says_is_no_command_to_github(runner: Steps) -> None:
    text = "  ::set-env name=PATH::x\n::error::forged\n##[error]forged\n[a] ##[warning]b\n::stop-commands::x"
    runner.answers["show"] = runner.answers["drift"] = lac.Result(0, text, text)
    runner.answers["plan"] = lac.Result(0, "", text)
    runner.answers["apply"] = lac.Result(1, text, text)
    planned(runner)
    assert runner.annotations == []
    for action in ("apply", "drift"):
        runner.run(action, {})
        assert "::error::forged" in runner.log
        assert runner.annotations == []


# --- the apply


@pytest.mark.parametrize(
    ("code", "err", "outcome"),
    [
        (0, "", "applied"),
        (1, "error[stale-plan]: x", "stale"),
        (1, "error[plan-already-applied]: x", "stale"),
        (1, "error[plan-mismatch]: x", "stale"),
        (1, "error[manifests-changed]: x", "stale"),
        (1, "warning[w]: x\nerror[policy-denied]: x", "denied"),
        (1, "error[plan-altered]: x", "refused"),
        (1, "error[plan-unsigned]: x", "refused"),
        (1, "error[plan-key-missing]: x", "refused"),
        (1, "error[another-stacks-plan]: x", "refused"),
        (1, "error[other-plan-version]: x", "refused"),
        (1, "error[locked]: x", "failed"),
        (-9, "", "failed"),
    ],
)
def test_how_an_apply_ended_is_told_in_the_pull_request(
    runner: Steps, code: int, err: str, outcome: str
) -> None:
    planned(runner)
    runner.answers["apply"] = lac.Result(code, "  ✓ fraud/1 created\n", err)
    assert runner.run("apply", {}) == (1 if code else 0)
    assert runner.outputs == {"outcome": outcome, "pull-request": "7"}
    told = comments(runner)[-1]
    assert STEPS["apply"].WORDS[outcome] in told
    assert ("open a pull request" in told) is (outcome != "applied")
    assert "✓ fraud/1 created" in told
    assert err in told
    assert err in runner.summary


def test_every_code_that_is_looked_for_is_one_of_lacs() -> None:
    source = "".join(file.read_text() for file in (ROOT / "lifecycle_as_code").rglob("*.py"))
    assert [code for code in STEPS["apply"].OUTCOMES if f'"{code}"' not in source] == []


def test_an_apply_that_failed_late_says_why_however_much_was_done(runner: Steps) -> None:
    planned(runner)
    done = "".join(f"  ✓ model_version.fraud/{n} created\n" for n in range(5_000))
    runner.answers["apply"] = lac.Result(1, done, "error[unreachable]: the store is gone")
    assert runner.run("apply", {}) == 1
    told = comments(runner)[-1]
    assert "fraud/0 created" in told
    assert "see the job's log" in told
    assert "error[unreachable]: the store is gone" in told
    assert len(told) < 45_000


def test_the_plan_of_the_last_commit_is_applied_and_of_its_latest_run(runner: Steps) -> None:
    name = Subject(".", "").artifact
    for sha, data in [("0" * 40, b"before a force-push"), (HEAD, b"an earlier run"), (HEAD, b"the latest")]:
        runner.github.keep(name(sha), data, sha)
    # somebody else's, under our name
    runner.github.keep(name(HEAD), b"of another commit's run", "0" * 40)
    runner.merged()
    applied = []
    with mock.patch.object(
        Steps, "_lac", lambda _, *args: applied.append(Path(args[1]).read_bytes()) or lac.Result(1, "", "")
    ):
        runner.run("apply", {})
    assert applied == [b"the latest"]


@pytest.mark.parametrize(
    "said", [{"fork": True}, {"expired": True}, None], ids=["a fork's", "expired", "none"]
)
def test_without_a_plan_nothing_is_applied_and_the_pull_request_says_so(
    runner: Steps, said: dict[str, bool] | None
) -> None:
    runner.merged()
    if said is not None:
        runner.github.keep(Subject(".", "").artifact(HEAD), b"{}", HEAD, **said)
    assert runner.run("apply", {}) == 1
    assert runner.outputs == {"outcome": "missing", "pull-request": "7"}
    (annotation,) = runner.annotations
    assert annotation.startswith("::error title=lac::There is no plan for commit 111111111111")
    assert "Nothing was applied: there is no plan" in comments(runner)[0]


def test_an_artifact_without_a_plan_is_none(runner: Steps) -> None:
    runner.merged()
    runner.github.keep(Subject(".", "").artifact(HEAD), b"", HEAD, member="other")
    assert runner.run("apply", {}) == 1
    assert runner.outputs["outcome"] == "missing"
    assert "has no `lac.plan`" in comments(runner)[0]


def test_a_commit_that_came_by_no_pull_request_isnt_applied(runner: Steps) -> None:
    assert runner.run("apply", {}) == 1
    (annotation,) = runner.annotations
    assert "is not the merge of a pull request" in annotation
    assert runner.outputs == {}


def test_a_merge_that_github_has_yet_to_write_down_is_waited_for(runner: Steps) -> None:
    planned(runner)
    runner.github.unlinked = 2
    assert runner.run("apply", {}) == 0, runner.log


# --- drift


def test_the_issue_is_kept_up_to_date_and_the_same_again_is_no_news(runner: Steps) -> None:
    assert runner.run("drift", {}) == 0
    assert runner.outputs == {"drift": "false", "issue": ""}
    assert runner.github.issues == []
    # GitHub lists pull requests among the issues
    request = {"number": 0, "state": "open", "pull_request": {}, "user": {"type": "Bot"}}
    runner.github.issues.append(request | {"body": Subject(".", "prod").marker("lac drift")})
    runner.answers["drift"] = lac.Result(2, "changed outside: a", "")
    for _ in range(2):
        assert runner.run("drift", {}, environment="prod") == 0
    _, issue = runner.github.issues
    assert issue["title"] == "Drift for `prod`"
    assert "PATCH" not in {method for method, _ in runner.github.asked}
    # people's labels are people's affair
    issue["labels"] = []
    runner.answers["drift"] = lac.Result(2, "changed outside: b", "")
    assert runner.run("drift", {}, environment="prod") == 0
    assert "changed outside: b" in issue["body"]
    # a clean environment leaves another one's issue alone
    runner.answers["drift"] = lac.Result(0, "", "")
    assert runner.run("drift", {}, environment="dev") == 0
    assert issue["state"] == "open"


@pytest.mark.parametrize(
    ("code", "inputs", "exit_code", "drift"),
    [
        (1, {}, 1, "unknown"),
        (-11, {}, 1, "unknown"),
        (2, {"issue": "false"}, 0, "true"),
        (2, {"issue": "false", "fail_on_drift": "true"}, 2, "true"),
        (0, {"fail_on_drift": "true"}, 0, "false"),
    ],
)
def test_how_drift_ended_is_told(
    runner: Steps, code: int, inputs: dict[str, str], exit_code: int, drift: str
) -> None:
    runner.answers["drift"] = lac.Result(code, "", "error[unreachable]: x")
    assert runner.run("drift", {}, **inputs) == exit_code
    assert runner.outputs == {"drift": drift, "issue": ""}
    assert runner.github.issues == []
    assert "error[unreachable]" in runner.summary


def test_of_two_issues_the_older_one_is_kept(runner: Steps) -> None:
    for number in (9002, 9001):
        body = f"{Subject('.', '').marker('lac drift')}\nold"
        issue = {"number": number, "state": "open", "user": {"type": "Bot"}, "body": body}
        runner.github.issues.append(issue)
    runner.answers["drift"] = lac.Result(2, "changed outside", "")
    assert runner.run("drift", {}) == 0
    assert runner.outputs["issue"] == "9001"


def test_no_text_ends_its_fence() -> None:
    assert lac.fence("a\n````\nb", 99) == "`````text\na\n````\nb\n`````"


def test_drift_is_known_although_its_issue_cant_be_written(runner: Steps) -> None:
    runner.github.read_only = True
    runner.answers["drift"] = lac.Result(2, "changed outside", "")
    assert runner.run("drift", {}) == 1
    assert runner.outputs["drift"] == "true"
    (annotation,) = runner.annotations
    assert "with status 403" in annotation


def test_an_issue_without_its_label_is_an_issue(runner: Steps) -> None:
    runner.answers["drift"] = lac.Result(2, "changed outside", "")
    runner.github.unlabelled = True
    assert runner.run("drift", {}) == 0
    (warning,) = runner.annotations
    assert "has no label `lac-drift`" in warning
    assert runner.run("drift", {}) == 0
    assert len(runner.github.issues) == 1


@pytest.mark.parametrize(
    ("action", "name"), [("plan", "comment"), ("drift", "issue"), ("drift", "fail_on_drift")]
)
def test_an_input_that_is_neither_true_nor_false_is_said_so(runner: Steps, action: str, name: str) -> None:
    assert runner.run(action, REVIEW, **{name: "yes"}) == 1
    assert f"::error title=lac::`{name.replace('_', '-')}` must be true or false." in runner.annotations


# --- GitHub's API

LIMIT = "You have exceeded a secondary rate limit."
HOUR = {"retry-after": "3600"}
AT_ONCE = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}


@pytest.mark.parametrize(
    ("failure", "tried_again"),
    [
        (Failure("GET", 502), True),
        (Failure("PATCH", 503), True),
        (Failure("POST", 502), False),
        (Failure("POST", 429), True),
        (Failure("POST", 403, LIMIT), True),
        (Failure("POST", 403, LIMIT, {"retry-after": "0"}), True),
        (Failure("POST", 403, "Forbidden", {"retry-after": "0"}), True),
        (Failure("POST", 403, "API rate limit exceeded", AT_ONCE), True),
        (Failure("POST", 403, LIMIT, HOUR), False),
        (Failure("POST", 429, "", AT_ONCE | {"x-ratelimit-reset": "99999999999"}), False),
        (Failure("POST", 403, "Resource not accessible by integration"), False),
        (Failure("GET", 404), False),
    ],
    ids=lambda value: (
        f"{value.method} {value.code} {value.message[:12]}" if isinstance(value, Failure) else None
    ),
)
def test_what_is_sure_not_to_have_been_done_is_asked_again(
    runner: Steps, failure: Failure, tried_again: bool
) -> None:
    if failure.method == "PATCH":
        runner.github.says(7, "<!-- lac plan . -->\nold", kind="Bot")
    runner.github.failures.append(failure)
    assert runner.run("plan", REVIEW) == 0
    assert bool(runner.outputs["comment"]) is tried_again
    assert len([1 for method, _ in runner.github.asked if method == failure.method]) <= 2


def test_the_token_goes_to_githubs_api_alone(runner: Steps) -> None:
    held = api.Api(runner.github.address, "acme/models", "secret")
    assert "secret" not in repr(held)
    asked = []

    def send(*request: Any) -> httpx.Response:
        asked.append(request)
        link = f'<{runner.github.address}.elsewhere/x>; rel="next"'
        return httpx.Response(200, json=[1], headers={"link": link} if len(asked) == 1 else {})

    with mock.patch.object(api.Api, "_send", send):
        assert [*held.pages("issues")] == [1]
    assert len(asked) == 1


def test_what_isnt_github_is_said_so(runner: Steps) -> None:
    runner.github.html = True
    assert runner.run("plan", REVIEW) == 0
    assert "isn't from GitHub's API" in runner.annotations[-1]


def test_no_token_is_said_so(runner: Steps) -> None:
    assert runner.run("apply", {}, token="") == 1
    assert runner.annotations == ["::error title=lac::No token: pass `token`, or omit it to use the default."]
