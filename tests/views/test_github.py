"""A plan as annotations: at the right lines, escaped as the runner unescapes, the important ones first."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.sample_plans import HOSTILE, always, planned, rich

from lifecycle_as_code.cli import display
from lifecycle_as_code.model.diagnostics import Diagnostic, Source
from lifecycle_as_code.model.plan import Plan
from lifecycle_as_code.model.review import Outcome, Review, Verdict
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.views import github

COMMAND = re.compile(r"::(error|warning|notice) ([^\n]*?)::([^\n]*)")


def unescaped(text: str) -> str:
    for escape, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(escape, char)
    return text


def read(text: str) -> list[tuple[str, dict[str, str], str]]:
    """As the runner does: the properties end at the next `::`, and are parted by commas."""
    found = []
    for line in text.splitlines():
        command = COMMAND.fullmatch(line)
        assert command, line
        pairs = (pair.partition("=") for pair in command[2].split(","))
        properties = {name: unescaped(value) for name, _, value in pairs}
        assert {*properties} <= {"file", "line", "col", "title"}
        found.append((command[1], properties, unescaped(command[3])))
    return found


def test_the_denial_is_an_error_at_the_changes_line() -> None:
    level, properties, message = read(github.plan(rich()))[0]
    assert level == "error"
    assert properties == {
        "file": "models/fraud.yaml",
        "line": "18",
        "col": "7",
        "title": "denied by champion-must-be-better: model_alias.fraud/champion",
    }
    assert message.splitlines() == [
        "A champion may not break its callers. Train it with all columns, or talk to @payments.",
        'not met: signature != "breaking"',
        "not met: after.metrics.auc_holdout >= before.metrics.auc_holdout",
        "Policy: policies.yaml:3",
    ]


def test_levels_follow_from_outcomes_and_breaking_signatures_warn() -> None:
    told = [(level, properties["title"]) for level, properties, _ in read(github.plan(rich()))]
    assert told == [
        ("error", "denied by champion-must-be-better: model_alias.fraud/champion"),
        ("warning", "warned by latency-budget: serving_endpoint.fraud-scoring"),
        ("warning", "signature breaking: fraud: version 3 → 4"),
        ("warning", "signature breaking: fraud: version 3 → 4, served as champion"),
        ("warning", "silent-webhooks: webhooks won't be called"),
        ("notice", "Stack payments, environment prod"),
        ("notice", "waived by soak-time: model_alias.fraud/champion"),
    ]


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_no_word_can_begin_a_command_or_a_property(word: str) -> None:
    """`read` refuses every line that isn't one whole command of ours."""
    assert len(read(github.plan(rich(always(word))))) >= 6


def test_what_a_runner_would_unescape_arrives_as_it_was() -> None:
    problem = Diagnostic("c", "100 %, a::b", "50%0A\nb", at=Source("a,b:c%.yaml", 1, 2), severity="warning")
    _, properties, message = read(github.problems([problem]))[0]
    assert properties["title"] == "c: 100 %, a::b"
    assert properties["file"] == "a,b:c%.yaml"
    assert message == "50%0A\nb"


def denied(number: int) -> Plan:
    address = Address("registered_model", ("m",))
    verdicts = [Verdict(f"w{n}", address, Outcome.WARNED) for n in range(number)]
    verdicts += [Verdict(f"p{n}", address, Outcome.DENIED) for n in range(number)]
    return planned(review=Review(verdicts=tuple(verdicts)))


def test_ten_of_a_level_are_shown_and_the_tenth_says_how_many_more() -> None:
    told = read(github.plan(denied(10)))
    assert [level for level, _, _ in told].count("error") == 10
    told = read(github.plan(denied(14)))
    errors = [properties["title"] for level, properties, _ in told if level == "error"]
    assert len(errors) == github.MOST
    assert errors[0] == "denied by p0: registered_model.m"
    assert errors[-1] == "5 more errors: GitHub shows at most 10 per step"
    assert [level for level, _, _ in told].count("warning") == 10


@pytest.mark.parametrize(
    ("root", "file", "expected"),
    [
        ("", "models/a.yaml", "models/a.yaml"),
        ("ml", "models/a.yaml", "ml/models/a.yaml"),
        ("ml/prod", "../shared/a.yaml", "ml/shared/a.yaml"),
        ("ml", "/abs/a.yaml", "/abs/a.yaml"),
    ],
)
def test_places_are_told_from_the_repositorys_root(root: str, file: str, expected: str) -> None:
    problem = Diagnostic("c", "s", "d", at=Source(file, 1, 1))
    _, properties, _ = read(github.problems([problem], root))[0]
    assert properties["file"] == expected


def test_the_way_from_the_root_is_asked_of_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repo" / "ml").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    monkeypatch.chdir(tmp_path / "repo" / "ml")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    assert display.below_root() == ""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "link"))
    assert display.below_root() == "ml"
    monkeypatch.chdir(tmp_path / "repo")
    assert display.below_root() == ""
    monkeypatch.chdir(tmp_path)
    assert display.below_root() == "", "outside of it there is no way"


def test_an_annotation_without_a_message_says_its_title() -> None:
    plan = replace(denied(1), diagnostics=())
    assert [message for level, _, message in read(github.plan(plan)) if level == "error"] == [
        "denied by p0: registered_model.m"
    ]
