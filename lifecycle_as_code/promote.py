"""An alias moved to another version in the manifests, and what there is to move it to.

Reads the manifests and the registry; writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .core import Core
from .diagnostics import Diagnostic, LacError, Source, did_you_mean
from .kinds.model_alias import ModelAlias
from .kinds.model_version import ModelVersion
from .kinds.registered_model import RegisteredModel
from .moves import moved
from .refresh import naming, observe
from .snapshot import Live
from .spec import Address, Spec
from .transaction import load

if TYPE_CHECKING:
    from .manifest.load import Manifest

CHALLENGER: Final = "challenger"
"""What is promoted where nothing is said: the version that has this alias."""
_RUN: Final = "run:"
_MOST_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Promotion:
    """An alias that the manifests shall declare otherwise.

    `before`: the version that they declare, None where they don't declare the alias; `live`: the one that it
    points at now. `file` would hold `text` instead of `text_before`; the same text where it says so already.
    `at`: where the alias is declared, once it is.
    """

    model: str
    alias: str
    version: int
    before: int | None
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


@dataclass(frozen=True, slots=True)
class Known:
    """The versions of one model that are declared or live, each with the run that made it, and its aliases,
    as declared, otherwise as live."""

    model: str
    runs: Mapping[int, str]
    aliases: Mapping[str, int]

    def chosen(self, selector: str) -> int:
        """The version that `selector` means: a number, `latest`, `@alias` or `run:<id>`. LacError where it
        means none or several."""
        match selector:
            case "latest":
                found = sorted(self.runs)[-1:]
            case _ if selector.startswith("@"):
                alias = selector.removeprefix("@")
                if alias not in self.aliases:
                    raise self._none(f"{self.model} has no alias `{alias}`, declared or live")
                found = [self.aliases[alias]]
            case _ if selector.startswith(_RUN):
                run = selector.removeprefix(_RUN)
                found = sorted(version for version, made_by in self.runs.items() if run and made_by == run)
                if not found:
                    raise self._none(f"no version of {self.model} is of the run `{run}`")
            case _ if re.fullmatch(r"[1-9][0-9]{0,17}", selector):
                found = [int(selector)]
            case _:
                raise LacError(
                    Diagnostic(
                        "bad-selector",
                        "that doesn't say which version",
                        f"`{selector}` is neither a number nor `latest`, `@ALIAS` or `run:ID`.",
                        hint=f"there are {self.listed()}" if self.runs else "",
                    )
                )
        if len(found) > 1:
            numbers = ", ".join(map(str, found))
            raise LacError(
                Diagnostic(
                    "ambiguous-version",
                    "several versions fit",
                    f"`{selector}` means the versions {numbers} of {self.model}.",
                    hint="say the number of one of them",
                )
            )
        if not found or found[0] not in self.runs:
            raise self._none(f"{self.model} has no version{f' {found[0]}' if found else ''}")
        return found[0]

    @property
    def hint(self) -> str:
        """The way out of not knowing which."""
        return f"say which one with `--version`; there are {self.listed()}" if self.runs else ""

    def listed(self) -> str:
        """The versions there are, the last one first, each with its aliases."""
        told = []
        for version in sorted(self.runs, reverse=True)[:_MOST_LISTED]:
            names = sorted(alias for alias, pointed in self.aliases.items() if pointed == version)
            told.append(f"{version} ({', '.join(names)})" if names else str(version))
        rest = len(self.runs) - len(told)
        return ", ".join(told) + (f" and {rest} more" if rest else "")

    def _none(self, why: str) -> LacError:
        return LacError(Diagnostic("no-such-version", "there is no such version", f"{why}.", hint=self.hint))


def promoted(core: Core, model: str, alias: str, selector: str | None) -> Promotion:
    """The manifests with `alias` of `model` at the version that `selector` means, or at the challenger's.

    LacError where there is no such version, or the manifests can't be edited safely.
    """
    from .manifest.edit import edited

    manifest = core.manifest
    address = Address(ModelAlias.kind, (model, alias))
    live = _live(core, Address(RegisteredModel.kind, (model,)))
    _refuse_unknown(manifest, model, live)
    known = _known(manifest, model, live)
    if selector is None and alias == CHALLENGER:
        raise LacError(Diagnostic("no-version", "nothing says which version", f"{address}.", hint=known.hint))
    version = known.chosen(selector or f"@{CHALLENGER}")
    wanted = _alias(model, alias, version)
    declared = manifest.desired.objects.get(address)
    texts = manifest.texts()
    found = live.present(address)
    at = manifest.desired.places.get(address)
    file, text = at.file if at else "", texts.get(at.file, "") if at else ""
    change = {address: wanted} if declared != wanted else {}
    for name, edit in edited(
        texts, manifest.desired.places, manifest.desired.objects, change, core.specs
    ).items():
        file, text = name, edit
    if change:
        at = manifest.again({file: text.encode()}).desired.places.get(address)
    return Promotion(
        model,
        alias,
        version,
        _version(declared),
        _version(found.spec if found else None),
        file,
        texts[file],
        text,
        at,
    )


def _live(core: Core, model: Address) -> Live:
    """What the registry has of a model, under the name that the manifests give it."""
    desired = core.manifest.desired
    names = naming({model, *(move.before for move in desired.moves)})
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        live = observe(list(core.kinds.values()), db, names)
        return moved(desired, load(ledger, db, core.specs), live, core.specs).live


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
                hint=f"take it over first: `lac import {Address(RegisteredModel.kind, (model,))}`",
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


def _known(manifest: Manifest, model: str, live: Live) -> Known:
    runs: dict[int, str] = {}
    aliases: dict[str, int] = {}
    there = {address: found.spec for address, found in live.objects.items() if not found.tombstone}
    for address, spec in [*there.items(), *manifest.desired.objects.items()]:
        if str(address.key[0]) != model:
            continue
        if isinstance(spec, ModelVersion):
            runs[spec.version] = spec.run_id or _run_of(spec.source) or runs.get(spec.version, "")
        elif isinstance(spec, ModelAlias):
            aliases[spec.alias] = spec.version
    return Known(model, runs, aliases)


def _run_of(source: str) -> str:
    return source.removeprefix("runs:/").partition("/")[0] if source.startswith("runs:/") else ""


def _version(spec: Spec | None) -> int | None:
    return spec.version if isinstance(spec, ModelAlias) else None


def _alias(model: str, alias: str, version: int) -> ModelAlias:
    from pydantic import ValidationError

    try:
        return ModelAlias(model=model, alias=alias, version=version)
    except ValidationError as error:
        why = "; ".join(str(found.get("ctx", {}).get("error", found["msg"])) for found in error.errors())
        raise LacError(Diagnostic("bad-alias", "that can't be an alias", f"{why}.")) from None
