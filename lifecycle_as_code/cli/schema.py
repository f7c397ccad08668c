"""`lac schema`: what an editor needs to check manifests while they are written."""

from __future__ import annotations

from pathlib import Path

import click

from .group import Verb
from .output import say
from .stacks import spec_classes


@click.command(cls=Verb)
@click.argument("which", type=click.Choice(["manifest", "project"]), default="manifest")
@click.option("--out", metavar="DIR", help="Write both into DIR instead, over what is there.")
def command(which: str, out: str | None) -> int:
    """Print the JSON Schema of manifests, or of lac.yaml (`project`).

    Editors use it where a file starts with `# yaml-language-server: $schema=PATH`.
    """
    from .. import schema
    from ..views.text import safe

    texts = schema.texts(spec_classes())
    if out is None:
        say(texts[f"{which}.schema.json"].rstrip("\n"))
        return 0
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
        say(f"wrote {safe(directory / name)}")
    return 0
