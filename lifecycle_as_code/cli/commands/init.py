"""`lac init`: a starter stack."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from ..group import Verb
from ..options import Options
from ..output import say
from .schema import write

_SCHEMAS = ".lac/schemas"

_PROJECT = """\
# yaml-language-server: $schema=.lac/schemas/lac.schema.json
# What this stack is called, which files belong to it, and where its objects live.
name: {name}
include:
  - models/*.yaml

# MLflow's own database; the first `lac apply` makes it. `postgresql://…` works as well.
store: sqlite:///mlflow.db

# for roles and permissions: MLflow's auth database
# auth_store: sqlite:///basic_auth.db

# for serving endpoints: a Ray on this machine (`lac up`), or the address of a cluster's dashboard
# serve: local
"""

_MODELS = """\
# yaml-language-server: $schema=../.lac/schemas/manifest.schema.json
registered_models:
  - name: hello
    description: The first model of this stack.
    tags:
      stage: trying-out
    # once a version is logged (`mlflow.<flavor>.log_model`), declare it and point an alias at it:
    # versions:
    #   - version: 1
    #     source: runs:/<run id>/model
    # aliases:
    #   champion: 1
"""

_IGNORED = """\
# what is this machine's own; `lac schema --out .lac/schemas` writes the editor's part of it
.lac/
mlflow.db
mlruns/
"""


@click.command(cls=Verb)
@click.argument("below", required=False, metavar="[DIR]")
@click.option("--name", help="The stack's name; by default the directory's.")
@click.pass_obj
def command(options: Options, below: str | None, name: str | None) -> int:
    """Write a starter stack into DIR, made where it is missing: lac.yaml and one model. Overwrites nothing.

    Beside them, in `.lac/schemas`, goes what an editor needs to check manifests while they are written.
    """
    from ...model.diagnostics import Diagnostic, LacError
    from ...views.text import safe

    home = Path(options.directory, below or ".")
    files = {
        "lac.yaml": _PROJECT.format(name=name or _named_after(home)),
        "models/hello.yaml": _MODELS,
    }
    if there := [file for file in files if (home / file).exists()]:
        raise LacError(
            *(
                Diagnostic(
                    "already-there",
                    "a file is in the way",
                    f"{home / file} exists and is left alone.",
                    hint="choose another directory: `lac init DIR`",
                )
                for file in there
            )
        )
    # a list of ignored files that is there already is somebody's own
    if not (home / ".gitignore").exists():
        files[".gitignore"] = _IGNORED
    for file, text in files.items():
        path = home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
        say(f"wrote {safe(path)}")
    write(home / _SCHEMAS)
    where = "" if home == Path() else f" -C {safe(shlex.quote(str(home)))}"
    say(f"\nNext: `lac{where} plan` shows what it would make, `lac{where} apply` makes it.")
    return 0


def _named_after(directory: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-")
    return name if name[:1].isalpha() else f"stack-{name}".strip("-")
