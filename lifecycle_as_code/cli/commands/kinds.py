"""`lac kinds`: the reference of manifests."""

from __future__ import annotations

import click

from ...model.diagnostics import did_you_mean
from ..group import Verb
from ..options import Options
from ..output import paint, say
from ..stacks import spec_classes


@click.command(cls=Verb)
@click.argument("names", nargs=-1, metavar="[KIND]...")
@click.option("--all", "everything", is_flag=True, help="Show all fields of every kind.")
@click.pass_obj
def command(options: Options, names: tuple[str, ...], everything: bool) -> int:
    """List the kinds of objects and their sections in manifests. With KIND, show all fields of that kind."""
    from ...views.terminal import reference

    specs = spec_classes()
    colours = paint(options)
    if not names and not everything:
        say(reference.kinds(specs.values(), colours))
        return 0
    by_name = {**{spec.section: spec for spec in specs.values()}, **specs}
    for name in names:
        if name not in by_name:
            raise click.UsageError(f"there is no kind `{name}`; {did_you_mean(name, specs)}")
    selection = specs.values() if everything else dict.fromkeys(by_name[name] for name in names)
    say("\n\n".join(reference.kind(spec, colours) for spec in selection))
    return 0
