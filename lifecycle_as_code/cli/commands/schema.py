"""`lac schema`: the JSON Schemas with which an editor checks manifests."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...views.text import safe
from ..group import Verb
from ..output import say
from ..stacks import spec_classes

FILES = {"manifest": "manifest.schema.json", "project": "lac.schema.json"}


@click.command(cls=Verb)
@click.argument("which", type=click.Choice(list(FILES)), default="manifest")
@click.option("--out", metavar="DIR", help="Write both schemas to DIR, over existing files.")
def command(which: str, out: str | None) -> int:
    """Print the JSON Schema of manifests, or of lac.yaml (`project`).

    An editor uses it for files that start with `# yaml-language-server: $schema=PATH`."""
    if out is None:
        say(schema_texts()[FILES[which]].rstrip("\n"))
        return 0
    for path in write_schemas(Path(out)):
        say(f"wrote {safe(path)}")
    return 0


def write_schemas(directory: Path) -> list[Path]:
    """Write both schemas to `directory`; their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in schema_texts().items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in FILES.values()]


def schema_texts() -> dict[str, str]:
    """Both schemas by file name, as committed in `schemas/`."""
    from ...manifest.schema import manifest_schema, project_schema

    schemas = {"manifest": manifest_schema(spec_classes()), "project": project_schema()}
    return {FILES[which]: json.dumps(schema, indent=2) + "\n" for which, schema in schemas.items()}
