"""An alias moved to another version in the manifests, and what there is to move it to.

Reads the manifests and the registry; writes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..kinds.model_alias import ModelAlias
from ..kinds.model_version import ModelVersion
from ..kinds.registered_model import RegisteredModel
from ..model.diagnostics import Diagnostic, LacError, Source, did_you_mean, refuse
from ..model.selector import VersionSelector
from ..model.snapshot import Desired, Live, Recorded
from ..model.spec import Address, Spec
from ..planning.candidates import Candidate, candidates
from ..planning.renames import moved
from ..planning.selection import chosen
from .apply.transaction import load
from .observation import naming, observe
from .refresh import with_runs
from .session import Core

if TYPE_CHECKING:
    from pydantic import ValidationError

    from ..manifest.load import Manifest

CHALLENGER: Final = "challenger"
"""What is promoted where nothing is said: the version that has this alias."""
_RUN: Final = "run:"
_NUMBER: Final = re.compile("[1-9][0-9]{0,17}")
_BAD: Final = "bad-selector"
_SUMMARY: Final = "that doesn't say which version"
_FORMS: Final = "a number, `latest`, `@ALIAS` or `run:ID`; or a condition with `--where`"
_MOST_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Promotion:
    """An alias that the manifests shall declare otherwise.

    `before`: what they declare, a number or a selector as text; None where they don't declare the alias.
    `live`: the version that it points at now. `file` would hold `text` instead of `text_before`; the same
    text where it says so already. `at`: where the alias is declared, once it is.
    """

    model: str
    alias: str
    version: int
    before: int | str | None
    live: int | None
    file: str
    text_before: str
    text: str
    at: Source | None

    @property
    def address(self) -> Address:
        """The alias."""
        return Address(ModelAlias.kind, (self.model, self.alias))

    @property
    def changes(self) -> bool:
        """Whether the file has to change."""
        return self.text != self.text_before


Asked = int | VersionSelector
"""A version's number, or a selector as manifests have it."""


@dataclass(frozen=True, slots=True)
class _Registry:
    """What our records and the registry have of a model, under the name that the manifests give it."""

    recorded: Recorded
    live: Live


def asked(text: str) -> Asked:
    """A version as a command line says it: a number, `latest`, `@alias` or `run:<id>`. LacError where it is
    none of them."""
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
        raise LacError(Diagnostic(_BAD, _SUMMARY, f"`{text}` is none of the forms.", hint=_FORMS))
    return selector(**fields)


def selector(**fields: object) -> VersionSelector:
    """A selector. LacError where its fields make none, such as a condition that isn't CEL."""
    from pydantic import ValidationError

    try:
        return VersionSelector.model_validate(fields)
    except ValidationError as error:
        raise LacError(Diagnostic(_BAD, _SUMMARY, f"{_why(error)}.", hint=_FORMS)) from None


def promoted(core: Core, model: str, alias: str, version: Asked | None) -> Promotion:
    """The manifests with `alias` of `model` at this version, or at the challenger's.

    LacError where there is no such version, or the manifests can't be edited safely.
    """
    from ..manifest.edit import rewrite

    manifest = core.manifest
    address = Address(ModelAlias.kind, (model, alias))
    there = _registry(core, model)
    _refuse_unknown(manifest, model, there.live)
    wanted = _alias(model, alias, _number(manifest.desired, there, address, version))
    declared = manifest.desired.objects.get(address)
    change = {address: wanted} if declared != wanted else {}
    texts = manifest.texts()
    at = manifest.desired.places.get(address)
    file, text = at.file if at else "", texts.get(at.file, "") if at else ""
    edits = rewrite(manifest, change, core.specs)
    for name, edit in edits.items():
        file, text = name, edit
    if change:
        at = manifest.again({file: text.encode()}).desired.places.get(address)
    live = there.live.present(address)
    return Promotion(
        model,
        alias,
        _version(wanted),
        _said(declared),
        _version(live.spec) if live else None,
        file,
        texts[file],
        text,
        at,
    )


def _registry(core: Core, model: str) -> _Registry:
    desired, kinds = core.manifest.desired, list(core.kinds.values())
    names = naming({Address(RegisteredModel.kind, (model,)), *(move.before for move in desired.moves)})
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        recorded = load(ledger, db, core.specs)
        there = moved(desired, recorded, observe(kinds, db, names), core.specs)
        return _Registry(there.recorded, with_runs(kinds, db, _about(desired, model), there.live))


def _about(desired: Desired, model: str) -> Desired:
    """The versions and aliases of one model."""
    kinds = (ModelVersion.kind, ModelAlias.kind)
    mine = {a: spec for a, spec in desired.objects.items() if a.kind in kinds and a.key[0] == model}
    return replace(desired, objects=mine)


def _number(desired: Desired, there: _Registry, address: Address, version: Asked | None) -> int:
    """The version that is meant, which there is, or will be."""
    model, alias = map(str, address.key)
    mine = _about(desired, model)
    if version is None and alias == CHALLENGER:
        hint = _hint(mine, there, model)
        raise LacError(Diagnostic("no-version", "nothing says which version", f"{address}.", hint=hint))
    if not isinstance(version, int):
        wanted = _alias(model, alias, version or VersionSelector(alias=CHALLENGER))
        found = chosen(replace(mine, objects={**mine.objects, address: wanted}), there.recorded, there.live)
        # where the alias is declared doesn't matter: the command line says this
        refuse(replace(problem, at=None) for about, problem in found.problems if about == address)
        version = _version(found.desired.objects[address])
    if version not in {candidate.facts.version for candidate in _candidates(mine, there, model)}:
        hint = _hint(mine, there, model)
        why = f"{model} has no version {version}."
        raise LacError(Diagnostic("no-such-version", "there is no such version", why, hint=hint))
    return version


def _candidates(mine: Desired, there: _Registry, model: str) -> tuple[Candidate, ...]:
    return candidates(mine, there.recorded, there.live).get(model, ())


def _hint(mine: Desired, there: _Registry, model: str) -> str:
    """The versions there are, the last one first, each with its aliases."""
    aliases: dict[str, object] = {}
    specs = [found.spec for found in there.live.objects.values() if not found.tombstone]
    for spec in [*specs, *mine.objects.values()]:
        if isinstance(spec, ModelAlias) and spec.model == model:
            aliases[spec.alias] = spec.version
    told = []
    every = _candidates(mine, there, model)
    for candidate in every[:_MOST_LISTED]:
        number = candidate.facts.version
        names = ", ".join(sorted(alias for alias, pointed in aliases.items() if pointed == number))
        told.append(f"{number} ({names})" if names else str(number))
    rest = f" and {len(every) - len(told)} more" if len(every) > len(told) else ""
    return f"say which one with `--version`; there are {', '.join(told)}{rest}" if told else ""


def _refuse_unknown(manifest: Manifest, model: str, live: Live) -> None:
    """A model that there isn't, or of which this stack declares nothing."""
    declared = {
        str(a.key[0]) for a in manifest.desired.objects if a.kind in (RegisteredModel.kind, ModelAlias.kind)
    }
    if model in declared:
        return
    if live.present(Address(RegisteredModel.kind, (model,))):
        raise LacError(
            Diagnostic(
                "not-declared",
                "this stack declares nothing of the model",
                f"{model} is in the registry, and in no manifest.",
                hint=f"take it over first: `lac import {Address(RegisteredModel.kind, (model,)).quoted}`",
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


def _said(spec: Spec | None) -> int | str | None:
    version = getattr(spec, "version", None)
    return version if version is None or isinstance(version, int) else str(version)


def _alias(model: str, alias: str, version: Asked) -> ModelAlias:
    from pydantic import ValidationError

    try:
        return ModelAlias(model=model, alias=alias, version=version)
    except ValidationError as error:
        why = f"{_why(error)}."
        raise LacError(Diagnostic("bad-alias", "that can't be an alias of a version", why)) from None


def _why(error: ValidationError) -> str:
    """In the words of the rules themselves, where they are ours."""
    told = []
    for found in error.errors(include_url=False, include_input=False):
        field = next((str(step) for step in found["loc"] if step in ("where", "run_id", "alias")), "")
        what = str(found.get("ctx", {}).get("error", found["msg"])).rstrip(".")
        told.append(f"`{field}`: {what}" if field and "`" not in what else what)
    return "; ".join(told)
