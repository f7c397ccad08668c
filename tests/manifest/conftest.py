"""A stack on disk, and reading it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.manifests import Files, Problems, Read
from support.sample_kinds import SPECS

from lifecycle_as_code.manifest.load import Manifest, load
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError
from lifecycle_as_code.model.snapshot import Desired
from lifecycle_as_code.review.policy.judge import check_rules

PROJECT = "name: payments\n"


def check_policies(desired: Desired) -> Iterator[Diagnostic]:
    """As `Stack` passes it on."""
    return check_rules(desired.rules)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Write files into an empty directory (lac.yaml where it isn't given) and load it as `.`."""

    def read(files: Files, **options: Any) -> Manifest:
        monkeypatch.chdir(tmp_path)
        for name, text in {"lac.yaml": PROJECT, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        return load(".", SPECS, **{"environ": {}, "checks": [check_policies], **options})

    return read


@pytest.fixture
def errors(read: Read) -> Callable[..., tuple[Diagnostic, ...]]:
    """The errors that files like these lead to."""

    def errors(files: Files, **options: Any) -> tuple[Diagnostic, ...]:
        with pytest.raises(LacError) as caught:
            read(files, **options)
        return caught.value.diagnostics

    return errors


@pytest.fixture
def problems(errors: Callable[..., tuple[Diagnostic, ...]]) -> Problems:
    """The same as `line:column code`, for one manifest."""

    def problems(text: str, **options: Any) -> list[str]:
        found = errors({"m.yaml": text}, **options)
        return [f"{d.at.line}:{d.at.column} {d.code}" if d.at else d.code for d in found]

    return problems
