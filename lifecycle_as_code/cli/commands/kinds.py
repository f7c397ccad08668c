"""`lac kinds`: what may stand in a manifest."""

from __future__ import annotations

import click

from ..group import Verb
from ..options import Options
from ..output import paint, say
from ..stacks import spec_classes


@click.command(cls=Verb)
@click.argument("names", nargs=-1, metavar="[KIND]...")
@click.option("--all", "everything", is_flag=True, help="Every kind in full.")
@click.pass_obj
def command(options: Options, names: tuple[str, ...], everything: bool) -> int:
    """List the kinds of objects and their sections in manifests; with a KIND, all its fields."""
    from ...model.diagnostics import did_you_mean
    from ...views.terminal import reference

    specs = spec_classes()
    colours = paint(options)
    if not names and not everything:
        say(reference.kinds(specs.values(), colours))
        return 0
    by_name = {**{spec.section: spec for spec in specs.values()}, **specs}
    for name in names:
        if name not in by_name:
            raise click.UsageError(f"`{name}` is not a kind; {did_you_mean(name, specs)}")
    wanted = specs.values() if everything else dict.fromkeys(by_name[name] for name in names)
    say("\n\n".join(reference.kind(spec, colours) for spec in wanted))
    return 0
