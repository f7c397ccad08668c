"""A plan as a file: the reviewed plan is the one that is applied. Pure: bytes in, bytes out.

The file is one JSON document that must equal, byte for byte, what this module writes for its content. With a
key, its seal is an HMAC; without, a digest, which detects accidents and careless edits, but no forgery.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..model.diagnostics import Diagnostic, LacError, Source
from ..model.diff import FieldChange, diff
from ..model.history import Actor
from ..model.plan import Action, Change, Mode, Override, Plan
from ..model.review import Review
from ..model.spec import Address, Spec, construct, plain
from .encoding import as_plain, plan_data
from .ordering import build_steps, link_changes, sort_changes
from .renames import rename_spec

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT: Final = "lac-plan"
FORMAT_VERSION: Final = "1.1"
MAX_BYTES: Final = 256 * 1024 * 1024
KEY_VARIABLE: Final = "LAC_PLAN_KEY"
"""The environment variable with the key."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a plan. `stores`: for `registry` and `auth` the database's own ID (empty if it has none
    yet), its dialect and its address without password; for `serve` the cluster's address. `manifests`: their
    digest. `made_at`: ISO 8601; it distinguishes files with equal plans."""

    workspace: str
    stores: Mapping[str, Mapping[str, str]]
    manifests: str
    made_at: str
    made_by: Actor
    lac: str


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan from a file. `signed`: its seal was verified with a key."""

    plan: Plan
    origin: Origin
    digest: str
    signed: bool = False


@dataclass(frozen=True, slots=True)
class _Change:
    """A change in the file. Sides are of the address's kind; `Any` follows from the other fields."""

    address: Address
    kind: Any
    action: Action
    reason: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    fields: tuple[FieldChange, ...]
    waits_for: Any
    moved_from: Address | None
    protected: bool
    at: Source | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A plan in the file."""

    stack: str
    environment: str
    mode: Mode
    changes: tuple[_Change, ...]
    steps: Any
    diagnostics: tuple[Diagnostic, ...]
    guards: tuple[Override, ...]
    review: Review
    summary: Any


@dataclass(frozen=True, slots=True)
class _File:
    """The whole file."""

    format: str
    format_version: str
    digest: str
    origin: Origin
    plan: _Plan
    seal: str


@cache
def _adapter() -> TypeAdapter[_File]:
    # imported and built here: no other command reads a plan
    from pydantic import TypeAdapter

    return TypeAdapter(_File)


def digest(plan: Plan) -> str:
    """The digest of a plan's content, saved or not."""
    return _sha256(_canonical(plan_data(plan)))


def dump(plan: Plan, origin: Origin, key: bytes | None = None) -> bytes:
    """The file's bytes, sealed with `key`, or with a digest if there is no key."""
    body = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "digest": digest(plan),
        "origin": origin,
        "plan": plan_data(plan),
    }
    return _encode({**body, "seal": _seal(body, key)})


def load(data: bytes, specs: Mapping[str, type[Spec]], key: bytes | None = None) -> SavedPlan:
    """Read the plan in the file. LacError if it isn't a plan, has another version, or was modified. The
    plan's `plan_id` is the hash of the sealed bytes: a copy of the file has the same, no other file does."""
    document = _document(data)
    seal = document.pop("seal", None)
    signed = isinstance(seal, str) and seal.startswith("hmac-sha256:")
    if signed and key is None:
        _refuse("plan-key-missing", "the plan is signed, but no key is set to verify it", _GIVE_KEY)
    if key is not None and not signed:
        _refuse("plan-unsigned", "a key is set, but the plan isn't signed", _SIGN)
    if not _is_sealed(document, seal, key, data):
        _refuse("plan-altered", "the plan file was modified after it was saved", _AGAIN)
    try:
        file = _adapter().validate_json(data, strict=True, extra="forbid", context=specs)
        plan = _plan(file.plan, specs)
        # everything that follows from the changes was computed again, and must equal the file
        same = digest(plan) == file.digest == _sha256(_canonical(document["plan"]))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        _refuse("bad-plan-file", f"the plan can't be read: {type(error).__name__}", _AGAIN)
    if not same:
        _refuse("plan-altered", "the plan's parts don't agree with each other", _AGAIN)
    return SavedPlan(replace(plan, plan_id=_sha256(data)), file.origin, file.digest, signed)


def environment_of(data: bytes) -> str | None:
    """The environment in the file, before the file is verified; None if it has none."""
    plan = _document(data).get("plan")
    environment = plan.get("environment") if isinstance(plan, dict) else None
    return environment if isinstance(environment, str) and environment else None


def same_store(planned: Mapping[str, str] | None, here: Mapping[str, str] | None) -> bool:
    """Whether both are the same store: by their IDs if both have one, otherwise by their addresses."""
    if planned is None or here is None:
        return planned is here
    if planned.get("id") and here.get("id"):
        return planned["id"] == here["id"]
    # a plan with an ID was made from records, so it isn't of a store without records
    if planned.get("id"):
        return False
    return {**planned, "id": ""} == {**here, "id": ""}


_AGAIN: Final = "run `lac plan -o FILE` again, and review the new plan"
_NAME: Final = "name a file that `lac plan -o` wrote"
_SIGN: Final = f"run `lac plan -o FILE` again with {KEY_VARIABLE} set"
_GIVE_KEY: Final = f"set {KEY_VARIABLE} to the key that signed the plan"


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        _refuse("bad-plan-file", f"the file has more than {MAX_BYTES:,} bytes", _AGAIN)
    try:
        document = json.loads(data.decode("ascii"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        _refuse("bad-plan-file", "the file isn't a plan, or is truncated", _NAME)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        _refuse("bad-plan-file", "the file isn't a plan", _NAME)
    if document.get("format_version") != FORMAT_VERSION:
        version = document.get("format_version")
        quoted = version if isinstance(version, str) and len(version) < 20 else "unknown"
        _refuse(
            "other-plan-version",
            f"the format version is {quoted}, but this lac reads {FORMAT_VERSION}",
            "apply it with the lac that saved it, or run `lac plan -o FILE` again",
        )
    return document


def _is_sealed(document: Mapping[str, Any], seal: object, key: bytes | None, data: bytes) -> bool:
    """Whether the seal is right, and the bytes are those that this module writes."""
    if not isinstance(seal, str):
        return False
    try:
        right = hmac.compare_digest(seal.encode(), _seal(document, key).encode())
        return right and _encode({**document, "seal": seal}) == data
    except (ValueError, RecursionError):
        # a number too large for a float, half a surrogate pair, too much nesting: never written here
        return False


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _plan(entry: _Plan, specs: Mapping[str, type[Spec]]) -> Plan:
    by_address = {change.address: _change(change, specs, entry.mode) for change in entry.changes}
    changes = tuple(sort_changes(link_changes(by_address)))
    plan = Plan(
        entry.stack,
        entry.environment,
        changes,
        build_steps(changes),
        entry.diagnostics,
        entry.mode,
        entry.guards,
        entry.review,
    )
    if not all(_explains_origin(change, plan) for change in changes if change.moved_from and change.side):
        raise ValueError("moved_from")
    return plan


def _change(entry: _Change, specs: Mapping[str, type[Spec]], mode: Mode) -> Change:
    kind = specs[entry.address.kind]
    before, after = (None if side is None else construct(kind, side) for side in (entry.before, entry.after))
    # values that will be written to a store must be valid in a manifest
    written_side = after if entry.action in (Action.CREATE, Action.UPDATE) else None
    if written_side and _canonical(kind.model_validate(plain(written_side), strict=False)) != _canonical(
        written_side
    ):
        raise ValueError("after")
    if any(spec.address != entry.address for spec in (before, after) if spec is not None):
        raise ValueError("address")
    if not _fits(entry.action, before, after, is_move=entry.moved_from is not None):
        raise ValueError("action")
    fields = entry.fields if mode is Mode.REFRESH_ONLY and entry.action is Action.RECORD else ()
    if before is not None and after is not None and entry.action is Action.UPDATE:
        fields = diff(before, after)
    return Change(
        entry.address,
        kind.store,
        entry.action,
        entry.reason,
        before,
        after,
        fields,
        at=entry.at,
        moved_from=entry.moved_from,
        protected=entry.protected,
    )


def _fits(action: Action, before: Spec | None, after: Spec | None, *, is_move: bool) -> bool:
    """Whether an action has the sides that it needs."""
    match action:
        case Action.CREATE:
            return before is None and after is not None
        case Action.DELETE:
            return before is not None and after is None
        case Action.FORGET:
            return after is None
        case Action.MOVE:
            return before is not None and after is not None and is_move and not diff(before, after)
        case Action.UPDATE | Action.RECORD:
            return before is not None and after is not None


def _explains_origin(change: Change, plan: Plan) -> bool:
    """Whether the plan's renames explain the object's present address."""
    back = [(after, before) for before, after in reversed(plan.moves)]
    return (
        change.side is not None
        and change.address != change.moved_from
        and rename_spec(change.side, back).address == change.moved_from
    )


def _seal(body: Mapping[str, Any], key: bytes | None) -> str:
    canonical = _canonical(body)
    if key is None:
        return _sha256(canonical)
    return f"hmac-sha256:{hmac.new(key, canonical, hashlib.sha256).hexdigest()}"


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), default=as_plain, allow_nan=False).encode()


def _encode(data: Any) -> bytes:
    return (json.dumps(data, indent=1, default=as_plain, allow_nan=False) + "\n").encode()


def _refuse(code: str, detail: str, hint: str) -> NoReturn:
    raise LacError(
        Diagnostic(code, "the plan file can't be applied", f"{detail[:1].upper()}{detail[1:]}.", hint=hint)
    )
