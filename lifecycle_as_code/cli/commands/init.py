"""`lac init`: create a starter stack."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from ...model.diagnostics import Diagnostic, refuse
from ...views.text import safe
from ..group import Verb
from ..options import Options
from ..output import say
from .schema import write_schemas

_SCHEMAS = ".lac/schemas"

_PROJECT = """\
# yaml-language-server: $schema=.lac/schemas/lac.schema.json
# The stack's name, its files, and the stores of its objects.
name: {name}
include:
  - models/*.yaml

# MLflow's database; the first `lac apply` creates it. `postgresql://…` works as well.
store: sqlite:///mlflow.db

# for roles and permissions: MLflow's auth database
# auth_store: sqlite:///basic_auth.db

# for serving endpoints: a Ray on this machine (`lac up`), or the address of a cluster's dashboard
# serve: local

# for `{{{{secrets/openai/api_key}}}}` in endpoints: where each node finds it (`env`, `file` or `command`)
# secrets:
#   openai:
#     api_key: {{env: OPENAI_API_KEY}}
"""

_MODELS = """\
# yaml-language-server: $schema=../.lac/schemas/manifest.schema.json
registered_models:
  - name: hello
    description: The first model of this stack.
    tags:
      stage: trying-out
    # after logging a version (`mlflow.<flavor>.log_model`), declare it and point an alias at it:
    # versions:
    #   - version: 1
    #     source: runs:/<run id>/model
    # aliases:
    #   champion: 1
"""

_IGNORED = """\
# files of this machine only; `lac schema --out .lac/schemas` recreates the editor's schemas
.lac/
mlflow.db
mlruns/
"""


@click.command(cls=Verb)
@click.argument("below", required=False, metavar="[DIR]")
@click.option("--name", metavar="NAME", help="The stack's name; by default the directory's name.")
@click.pass_obj
def command(options: Options, below: str | None, name: str | None) -> int:
    """Create a starter stack in DIR: lac.yaml and one model. DIR is created if it doesn't exist; existing
    files are never overwritten.

    `.lac/schemas` gets the JSON Schemas with which an editor checks manifests."""
    home = Path(options.directory, below or ".")
    files = {
        "lac.yaml": _PROJECT.format(name=name or _default_name(home)),
        "models/hello.yaml": _MODELS,
    }
    hint = "use another directory: `lac init DIR`"
    refuse(
        Diagnostic("already-there", "the file exists already", f"{home / file} was not overwritten.", hint)
        for file in files
        if (home / file).exists()
    )
    # an existing .gitignore stays as it is
    if not (home / ".gitignore").exists():
        files[".gitignore"] = _IGNORED
    for file, text in files.items():
        path = home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
        say(f"wrote {safe(path)}")
    write_schemas(home / _SCHEMAS)
    where = "" if home == Path() else f" -C {safe(shlex.quote(str(home)))}"
    say(f"\nNext: `lac{where} plan` shows the changes, `lac{where} apply` applies them.")
    return 0


def _default_name(directory: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-")
    return name if name[:1].isalpha() else f"stack-{name}".strip("-")
