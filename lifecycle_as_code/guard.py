"""What a plan must never do, whatever the manifests say. Pure: a World in, diagnostics out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from .change import Action, Change
from .diagnostics import Diagnostic, Source
from .snapshot import Live, Recorded
from .spec import Address, Spec


@dataclass(frozen=True, slots=True)
class World:
    """What a kind's own rules may look at."""

    desired: Mapping[Address, Spec]
    recorded: Recorded
    live: Live
    changes: Mapping[Address, Change]
    places: Mapping[Address, Source]
    principal: str = ""
    """The user of MLflow's that the applier is, where known."""


Check = Callable[[World], Iterable[Diagnostic]]
"""A rule of one kind over the whole plan, such as MLflow's counting of versions."""


REFERENTS = frozenset({"user", "prompt", "gateway_endpoint"})
"""What specs may name and manifests can't declare."""


def missing(world: World) -> Iterator[Diagnostic]:
    """References to what neither is there nor will be."""
    for address, spec in world.desired.items():
        for ref in spec.refs():
            change = world.changes.get(ref)
            going = change is not None and change.action is Action.DELETE
            known = ref in world.desired or ref in world.live.referents or world.live.present(ref)
            if going or not known:
                gone = ref in world.live.objects
                state = "no longer declared" if going else "deleted" if gone else "nowhere"
                ours = "name one that exists" if gone else f"declare {ref}, or name one that exists"
                theirs = (
                    f"make the {ref.kind.replace('_', ' ')} with MLflow's own tools, or name one that exists"
                )
                yield Diagnostic(
                    "missing-reference",
                    "names something that doesn't exist",
                    f"{address} refers to {ref}, which is {state}.",
                    hint=theirs if ref.kind in REFERENTS else ours,
                    at=world.places.get(address),
                )


def still_used(world: World) -> Iterator[Diagnostic]:
    """Deletions that would take along, or leave dangling, what isn't being deleted too."""
    going = {a for a, c in world.changes.items() if c.action is Action.DELETE}
    if not going:
        return
    for address, found in world.live.objects.items():
        if found.tombstone or found.hidden or address in going or address in world.desired:
            continue
        for ref in found.spec.refs():
            if ref in going:
                owner = world.recorded.others.get(address)
                whose = f"belongs to stack `{owner}`" if owner else "isn't managed here"
                yield Diagnostic(
                    "still-used",
                    "a deletion would touch something else",
                    f"{ref} would be deleted, but {address}, which {whose}, depends on it.",
                    hint=f"keep {ref} declared, or remove {address} first (or take it over: `lac import`)",
                )


def emptied(world: World) -> Iterator[Diagnostic]:
    """A stack that owns objects and declares none: more likely a glob that matched nothing."""
    if world.recorded.ours and not world.desired:
        lost = sorted(map(str, world.recorded.ours))
        more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
        yield Diagnostic(
            "nothing-declared",
            "the manifests declare nothing, but this stack owns objects",
            f"Everything would be deleted: {', '.join(lost[:10])}{more}.",
            hint="check `include:` in lac.yaml; to delete everything on purpose, run `lac destroy`",
        )
