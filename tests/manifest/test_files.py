"""Which files belong to a stack: nothing outside of it, and nothing that isn't a file."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.manifests import Read
from support.sample_kinds import SPECS

from lifecycle_as_code.manifest.load import load
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError

Errors = Callable[..., tuple[Diagnostic, ...]]

EMPTY = ""
TREE = dict.fromkeys(
    (
        "a.yaml",
        "b.yml",
        "c.yaml.j2",
        "notes.md",
        "prod.vars.yaml",
        "models/fraud.yaml",
        "models/deep/churn.yaml",
        "endpoints/fraud.yaml",
        ".hidden/x.yaml",
        ".lac/x.yaml",
        "other/lac.yaml",
        "other/x.yaml",
    ),
    EMPTY,
)


@pytest.mark.parametrize(
    ("patterns", "files"),
    [
        (
            None,
            "a.yaml b.yml c.yaml.j2 endpoints/fraud.yaml models/deep/churn.yaml models/fraud.yaml",
        ),
        ("*.yaml", "a.yaml"),
        ("models/*.yaml", "models/fraud.yaml"),
        ("models/**/*.yaml", "models/deep/churn.yaml models/fraud.yaml"),
        ("*/fraud.yaml", "endpoints/fraud.yaml models/fraud.yaml"),
        ("**/fraud.*", "endpoints/fraud.yaml models/fraud.yaml"),
        ("endpoints/**, models/*.yaml, a.yaml", "a.yaml endpoints/fraud.yaml models/fraud.yaml"),
        ("./models/fraud.yaml, models/fraud.yaml", "models/fraud.yaml"),
        ("[ab].y*", "a.yaml b.yml"),
        ("prod.vars.yaml", "prod.vars.yaml"),
    ],
)
def test_what_patterns_name(patterns: str | None, files: str, read: Read) -> None:
    items = (
        "" if patterns is None else "\ninclude: [" + ", ".join(f"'{p}'" for p in patterns.split(", ")) + "]"
    )
    assert list(read({"lac.yaml": f"name: a{items}", **TREE}).files) == files.split()


@pytest.mark.parametrize("pattern", ["../x.yaml", "models/../../x.yaml", "/etc/passwd", "~/x.yaml"])
def test_a_pattern_stays_inside(pattern: str, errors: Errors) -> None:
    (found,) = errors({"lac.yaml": f"name: a\ninclude: ['{pattern}']"})
    assert found.code == "include-outside"
    assert str(found.at) == "lac.yaml:2:11"


def test_a_pattern_that_matches_nothing_is_a_warning(read: Read) -> None:
    (found,) = read({"lac.yaml": "name: a\ninclude: [models/*.yaml]"}).desired.warnings
    assert (found.code, found.severity, str(found.at)) == (
        "include-matches-nothing",
        "warning",
        "lac.yaml:2:11",
    )


def test_so_is_a_stack_without_manifests(read: Read) -> None:
    (found,) = read({}).desired.warnings
    assert found.code == "include-matches-nothing"


@pytest.mark.parametrize("name", ["fraud.yaml", "models/fraud.yaml", "lac.yaml"])
def test_a_file_that_is_named_must_be_there(name: str, errors: Errors) -> None:
    (found,) = errors({"lac.yaml": f"name: a\ninclude: [{name}]"})
    assert found.code == "unreadable-file"


def test_a_directory_is_no_manifest(errors: Errors) -> None:
    (found,) = errors({"lac.yaml": "name: a\ninclude: [models]", "models/x.yaml": EMPTY})
    assert found.code == "not-a-file"


MODEL = "registered_models: [{name: fraud}]"


def test_a_link_within_the_stack_is_followed(read: Read, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "m.yaml").write_text(MODEL)
    (tmp_path / "linked").symlink_to("real")
    (tmp_path / "file.yaml").symlink_to("real/m.yaml")
    assert read({"lac.yaml": "name: a\ninclude: [linked/*.yaml]"}).files == ("linked/m.yaml",)
    assert read({"lac.yaml": "name: a\ninclude: ['*.yaml']"}).files == ("file.yaml",)


@pytest.mark.parametrize("pattern", ["*.yaml", "out.yaml", "out/*.yaml", "*/secret.yaml"])
def test_a_link_out_of_the_stack_is_not(
    pattern: str, errors: Errors, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.yaml").write_text(MODEL)
    (tmp_path / "out.yaml").symlink_to(outside / "secret.yaml")
    (tmp_path / "out").symlink_to(outside)
    (found,) = errors({"lac.yaml": f"name: a\ninclude: ['{pattern}']"})
    assert found.code == "include-outside"


def test_links_in_a_circle_end(read: Read, errors: Errors, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "again").symlink_to(tmp_path)
    assert read({"lac.yaml": "name: a\ninclude: ['**/*.yaml']", "m.yaml": EMPTY}).files == ("m.yaml",)
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    (found,) = errors({"lac.yaml": "name: a\ninclude: ['*.yaml']"})
    assert found.code == "unreadable-file"


@pytest.mark.parametrize("pattern", ["*.yaml", "**/*.yaml", "odd.yaml"])
@pytest.mark.parametrize("sort", ["fifo", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(pattern: str, sort: str, errors: Errors, tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    match sort:
        case "fifo":
            os.mkfifo(odd)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                here = os.getcwd()
                os.chdir(tmp_path)  # a socket's path is short
                listener.bind("odd.yaml")
                os.chdir(here)
        case _:
            odd.symlink_to("/dev/zero")
    began = time.monotonic()
    (found,) = errors({"lac.yaml": f"name: a\ninclude: ['{pattern}']"})
    assert found.code in ("not-a-file", "include-outside")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("name", ["lac.yaml", "x.vars.yaml"])
def test_nor_is_lac_yaml_or_a_variable_file_read_from_a_fifo(name: str, tmp_path: Path) -> None:
    (tmp_path / "lac.yaml").write_text("name: a")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(LacError) as caught:
        load(tmp_path, SPECS, environ={}, var_files=[] if name == "lac.yaml" else [tmp_path / name])
    assert caught.value.diagnostics[0].code == "not-a-file"
