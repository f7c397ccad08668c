"""A promotion: an alias at another version in the manifests, and the plan of it. Writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pydantic import ValidationError

from ..model.diagnostics import Diagnostic, LacError, Source, did_you_mean, refuse
from ..model.plan import Plan
from ..model.selector import VersionSelector
from ..model.snapshot import Desired, Live, Recorded
from ..model.spec import Address, Part, Spec, Trait, key_fields, spec_with
from ..model.text import join_first
from ..planning.candidates import Candidate, list_candidates
from ..planning.renames import apply_moves
from ..planning.selection import choose_versions
from ..planning.targeting import IN_PART, Selection
from .plan import plan_changes
from .refresh import naming, observe, with_runs
from .session import Session

CHALLENGER: Final = "challenger"
"""The alias whose version is promoted by default."""
_RUN: Final = "run:"
_NUMBER: Final = re.compile("[1-9][0-9]{0,17}")
_BAD: Final = "bad-selector"
_SUMMARY: Final = "invalid version"
_FORMS: Final = "a number, `latest`, `@ALIAS` or `run:ID`; or a condition with `--where`"
_MOST_LISTED: Final = 20

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True)
class Promotion:
    """An alias at another version in the manifests. `before`: the declared version so far, a number or a
    selector as text; None without a declaration. `live`: the version that it points at now. `file` changes
    from `text_before` to `text`, unless they are equal. `at`: the declaration's place in the new text."""

    address: Address
    version: int
    before: int | str | None
    live: int | None
    file: str
    text_before: str
    text: str
    at: Source | None

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.address.key[0])

    @property
    def alias(self) -> str:
        """The alias's name."""
        return str(self.address.key[1])

    @property
    def changes(self) -> bool:
        """Whether the file changes."""
        return self.text != self.text_before


VersionChoice = int | VersionSelector
"""A version's number, or a selector as manifests have it."""


@dataclass(frozen=True, slots=True)
class _Registry:
    """Our records and the registry's objects of a model, under its name in the manifests."""

    recorded: Recorded
    live: Live


def parse_version(text: str) -> VersionChoice:
    """A version from the command line: a number, `latest`, `@alias` or `run:<id>`. LacError for others."""
    fields: dict[str, object]
    if _NUMBER.fullmatch(text):
        return int(text)
    if text == "latest":
        fields = {"latest": True}
    elif text.startswith("@"):
        fields = {"alias": text.removeprefix("@")}
    elif text.startswith(_RUN):
        fields = {"run_id": text.removeprefix(_RUN)}
    else:
        raise LacError(Diagnostic(_BAD, _SUMMARY, f"`{text}` is not a version.", hint=_FORMS))
    return make_selector(**fields)


def make_selector(**fields: object) -> VersionSelector:
    """A version selector. LacError where its fields are invalid, such as a condition that isn't CEL."""
    return _validate(VersionSelector, fields, _BAD, _SUMMARY, _FORMS)


def promote(session: Session, model: str, alias: str, version: VersionChoice | None) -> Promotion:
    """The edit that points an alias at a version; `Stack.promote` describes it."""
    from ..manifest.edit import rewrite

    manifest = session.manifest
    kind = spec_with(Trait.ALIAS, session.specs)
    address = Address(kind.kind, (model, alias))
    registry = _read_registry(session, model)
    _refuse_unknown(session, model, registry.live)
    number = _choose_number(manifest.desired, registry, kind, address, version)
    spec = _make_alias(kind, address, number)
    declared = manifest.desired.objects.get(address)
    change = {address: spec} if declared != spec else {}
    texts = manifest.texts()
    at = manifest.desired.places.get(address)
    file, text = at.file if at else "", texts.get(at.file, "") if at else ""
    for name, edit in rewrite(manifest, change, session.specs).items():
        file, text = name, edit
    if change:
        at = manifest.again({file: text.encode()}).desired.places.get(address)
    live = registry.live.present(address)
    return Promotion(
        address,
        _version(spec),
        _declared_version(declared),
        _version(live.spec) if live else None,
        file,
        texts[file],
        text,
        at,
    )


def plan_promotion(session: Session, promotion: Promotion) -> Plan:
    """The part of the edited manifests' plan that is about the alias."""
    manifest = session.manifest.again({promotion.file: promotion.text.encode()})
    selection = Selection(targets=(str(promotion.address),))
    plan = plan_changes(replace(session, manifest=manifest), selection=selection)
    # the caller knows that it is a part
    return replace(plan, diagnostics=tuple(d for d in plan.diagnostics if d.code != IN_PART))


def _read_registry(session: Session, model: str) -> _Registry:
    desired, kinds = session.desired, list(session.kinds.values())
    owner = Address(spec_with(Trait.MODEL, session.specs).kind, (model,))
    names = naming({owner, *(move.before for move in desired.moves)})
    with session.connections.reading() as (ledger, _), ledger.reading() as db:
        recorded = ledger.read_records(db, session.specs)
        renames = apply_moves(desired, recorded, observe(kinds, db, names), session.specs)
        return _Registry(renames.recorded, with_runs(kinds, db, _about(desired, model), renames.live))


def _about(desired: Desired, model: str) -> Desired:
    """The versions and aliases of one model."""
    about = (Trait.VERSION, Trait.ALIAS)
    mine = {a: spec for a, spec in desired.objects.items() if spec.trait in about and a.key[0] == model}
    return replace(desired, objects=mine)


def _choose_number(
    desired: Desired, registry: _Registry, kind: type[Spec], address: Address, version: VersionChoice | None
) -> int:
    """The number of a version that exists or is declared."""
    model, alias = map(str, address.key)
    mine = _about(desired, model)
    every = list_candidates(mine, registry.recorded, registry.live).get(model, ())
    if version is None and alias == CHALLENGER:
        hint = _list_versions(mine, registry.live, every, model)
        raise LacError(Diagnostic("no-version", "no version given", f"{address}.", hint=hint))
    if not isinstance(version, int):
        spec = _make_alias(kind, address, version or VersionSelector(alias=CHALLENGER))
        objects = {**mine.objects, address: spec}
        selected = choose_versions(replace(mine, objects=objects), registry.recorded, registry.live)
        # the version is the command line's, so the place of the declaration isn't the problem's
        refuse(replace(problem, at=None) for about, problem in selected.problems if about == address)
        version = _version(selected.desired.objects[address])
    if version not in {candidate.facts.version for candidate in every}:
        hint = _list_versions(mine, registry.live, every, model)
        why = f"{model} has no version {version}."
        raise LacError(Diagnostic("no-such-version", "there is no such version", why, hint=hint))
    return version


def _list_versions(mine: Desired, live: Live, every: Sequence[Candidate], model: str) -> str:
    """A hint with the model's versions, the last one first, each with its aliases."""
    aliases: dict[str, object] = {}
    specs = [observed.spec for observed in live.objects.values() if not observed.tombstone]
    for spec in [*specs, *mine.objects.values()]:
        if spec.trait is Trait.ALIAS and spec.address.key[0] == model:
            aliases[str(spec.address.key[1])] = _declared_version(spec)
    items = []
    for candidate in every:
        number = candidate.facts.version
        names = ", ".join(sorted(alias for alias, version in aliases.items() if version == number))
        items.append(f"{number} ({names})" if names else str(number))
    return f"name one with `--version`; there are {join_first(items, _MOST_LISTED)}" if items else ""


def _refuse_unknown(session: Session, model: str, live: Live) -> None:
    """LacError where the model doesn't exist, or this stack declares nothing of it."""
    objects, about = session.desired.objects, (Trait.MODEL, Trait.ALIAS)
    declared = {str(address.key[0]) for address, spec in objects.items() if spec.trait in about}
    if model in declared:
        return
    owner = Address(spec_with(Trait.MODEL, session.specs).kind, (model,))
    if live.present(owner):
        raise LacError(
            Diagnostic(
                "not-declared",
                "this stack declares nothing of the model",
                f"{model} is in the registry, and in no manifest.",
                hint=f"import it first: `lac import {owner.shell_word}`",
            )
        )
    raise LacError(
        Diagnostic(
            "no-such-model",
            "there is no such model",
            f"{model} is neither declared nor in the registry.",
            hint=did_you_mean(model, declared),
        )
    )


def _version(spec: Spec) -> int:
    version = getattr(spec, "version", None)
    assert isinstance(version, int)
    return version


def _declared_version(spec: Spec | None) -> int | str | None:
    version = getattr(spec, "version", None)
    return version if version is None or isinstance(version, int) else str(version)


def _make_alias(kind: type[Spec], address: Address, version: VersionChoice) -> Spec:
    fields = {**dict(zip(key_fields(kind), address.key, strict=True)), "version": version}
    return _validate(kind, fields, "bad-alias", "invalid alias")


def _validate(part: type[P], fields: Mapping[str, object], code: str, summary: str, hint: str = "") -> P:
    try:
        return part.model_validate(fields)
    except ValidationError as error:
        raise LacError(Diagnostic(code, summary, f"{_why(error)}.", hint=hint)) from None


def _why(error: ValidationError) -> str:
    """Pydantic's errors as text, in our rules' own words."""
    lines = []
    for each in error.errors(include_url=False, include_input=False):
        field = next((str(step) for step in each["loc"] if step in ("where", "run_id", "alias")), "")
        text = str(each.get("ctx", {}).get("error", each["msg"])).rstrip(".")
        lines.append(f"`{field}`: {text}" if field and "`" not in text else text)
    return "; ".join(lines)
