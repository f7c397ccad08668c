"""`lac usage`: from records in a stack's usage store to its table."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from lifecycle_as_code.cli import run
from lifecycle_as_code.serving.usage import Record, UsageLog


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack with an endpoint that was used ten minutes and ten days ago."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lac.yaml").write_text("name: payments\nserve: local\n")
    log = UsageLog(
        {"store": f"sqlite:///{tmp_path}/.lac/usage.db", "endpoint": "fraud", "usage": {}}, tmp_path / "spool"
    )
    now = int(time.time() * 1000)
    for minutes, status in ((10, 200), (10, 429), (60 * 24 * 10, 200)):
        log.add(Record(now - minutes * 60_000, "", "ann", "fraud", "champion", "fraud", 3, status, 1.5, 1))
    log.close()
    return tmp_path


@pytest.mark.usefixtures("stack")
def test_a_day_is_shown_unless_more_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[2:] == [
        "endpoint  requests     errors  p50 ms  p95 ms  rows",
        "fraud            2  1 (50.0%)     1.5     1.5     2",
    ]
    assert run(["usage", "fraud", "--since", "2w", "--by", "version", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["key"], row["requests"]) for row in document["rows"]] == [("fraud/3", 3)]
    assert (document["endpoint"], document["losses"]) == ("fraud", [])
    assert run(["usage", "fraud"]) == 0
    assert "fraud/champion" in capsys.readouterr().out


@pytest.mark.parametrize("age", ["", "24", "h", "0h", "1y", "-1h", "١h"])
@pytest.mark.usefixtures("stack")
def test_a_time_span_that_is_none_is_an_error(capsys: pytest.CaptureFixture[str], age: str) -> None:
    assert run(["usage", "--since", age]) == 1
    assert "is not a time span such as" in capsys.readouterr().err


def test_a_stack_without_a_usage_store_says_how_to_get_one(
    stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stack / "lac.yaml").write_text("name: payments\n")
    assert run(["usage"]) == 1
    error = capsys.readouterr().err
    assert "error[no-usage-store]" in error
    assert "usage_store: postgresql://" in error


def test_a_store_of_another_environment(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "name: payments\nenvironments: {prod: {usage_store: sqlite:///none.db}, dev: {serve: local}}\n"
    (stack / "lac.yaml").write_text(text)
    assert run(["-e", "prod", "usage"]) == 0
    assert "No requests." in capsys.readouterr().out
    assert run(["-e", "dev", "usage"]) == 0
    assert "fraud" in capsys.readouterr().out
    assert not (stack / "none.db").exists()
