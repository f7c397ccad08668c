"""Each Markdown file under scenarios/ is a story, played for real in an empty directory.

`support.stage` says how. `lac.yaml` is `PROJECT`, unless a story writes its own.

`pytest tests/test_scenarios.py --update` writes down what is printed now: read the diff before you commit.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stage import BLOCK, Stage, clear_environment, make_databases

STORIES = sorted(Path(__file__).parent.glob("scenarios/*.md"))
PROJECT = "name: payments\nstore: sqlite:///mlflow.db\nauth_store: sqlite:///basic_auth.db\n"
USERS = ("ann", "bob", "cyd")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    clear_environment(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_databases(tmp_path, USERS)
    (tmp_path / "lac.yaml").write_text(PROJECT)
    return Stage(tmp_path, monkeypatch)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, stage: Stage, request: pytest.FixtureRequest) -> None:
    story = path.read_text()
    result = BLOCK.sub(stage.play, story)
    if request.config.getoption("--update"):
        path.write_text(result)
    else:
        assert result == story
