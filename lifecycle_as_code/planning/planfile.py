"""A plan as a file: what was reviewed is what will be applied. Pure: bytes in, bytes out.

The file is one JSON document, versioned, and sealed: it must be, to the byte, what this module would write
for what it says. Where a key is given, the seal is an HMAC of it, and nobody without the key can make
another; without a key it is a digest, which finds accidents and hasty edits, and no forger.
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
from ..model.plan import Action, Allowed, Change, Mode, Plan
from ..model.review import Review
from ..model.spec import Address, Spec, construct, plain
from .encoding import as_plain, plan_data
from .ordering import in_order, linked, steps
from .renames import renamed

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT: Final = "lac-plan"
FORMAT_VERSION: Final = "1.1"
MAX_BYTES: Final = 256 * 1024 * 1024
KEY_VARIABLE: Final = "LAC_PLAN_KEY"
"""The environment variable that holds the key."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Of what, by whom, from what and when a plan was made.

    `stores`: for `registry` and `auth` the database's own id (empty where it has none yet), its dialect and
    its address without password; for `serve` the cluster's address. `manifests`: their digest. `made_at`: ISO
    8601, by the planner's clock; it tells files apart that say the same.
    """

    workspace: str
    stores: Mapping[str, Mapping[str, str]]
    manifests: str
    made_at: str
    made_by: Actor
    lac: str


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan that was read back. `signed`: its seal was checked against a key."""

    plan: Plan
    origin: Origin
    digest: str
    signed: bool = False


@dataclass(frozen=True, slots=True)
class _Change:
    """A change as the file has it. Its sides are of the address's kind; `Any` follows from the rest."""

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
    """A plan as the file has it."""

    stack: str
    environment: str
    mode: Mode
    changes: tuple[_Change, ...]
    steps: Any
    diagnostics: tuple[Diagnostic, ...]
    guards: tuple[Allowed, ...]
    review: Review
    summary: Any


@dataclass(frozen=True, slots=True)
class _File:
    """All that the file has."""

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
    """A name for exactly this plan, saved or not."""
    return _sha256(_canonical(plan_data(plan)))


def dump(plan: Plan, origin: Origin, key: bytes | None = None) -> bytes:
    """The file's bytes, sealed with `key`, or with a digest where there is none."""
    body = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "digest": digest(plan),
        "origin": origin,
        "plan": plan_data(plan),
    }
    return _written({**body, "seal": _seal(body, key)})


def load(data: bytes, specs: Mapping[str, type[Spec]], key: bytes | None = None) -> SavedPlan:
    """The plan in the file. LacError where it isn't one, is another version's, or was changed in any way.

    Its `file_id` is the hash of the bytes: they are sealed, so a copy has the same one and no other file.
    """
    held = _document(data)
    seal = held.pop("seal", None)
    signed = isinstance(seal, str) and seal.startswith("hmac-sha256:")
    if signed and key is None:
        _refuse("plan-key-missing", "the plan is signed, and there is no key to check it with", _GIVE_KEY)
    if key is not None and not signed:
        _refuse("plan-unsigned", "the plan isn't signed, and a key is set", "plan again where the key is set")
    if not _sealed(held, seal, key, data):
        _refuse("plan-altered", "the plan isn't as it was written", _AGAIN)
    try:
        file = _adapter().validate_json(data, strict=True, extra="forbid", context=specs)
        plan = _plan(file.plan, specs)
        # whatever follows from the changes was computed again, and must be what the file says
        same = digest(plan) == file.digest == _sha256(_canonical(held["plan"]))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        _refuse("bad-plan-file", f"the plan can't be read: {type(error).__name__}", _AGAIN)
    if not same:
        _refuse("plan-altered", "the plan's parts don't agree with each other", _AGAIN)
    return SavedPlan(replace(plan, file_id=_sha256(data)), file.origin, file.digest, signed)


def environment_of(data: bytes) -> str | None:
    """The environment that the file names, before anything about it is believed; None for none."""
    held = _document(data).get("plan")
    named = held.get("environment") if isinstance(held, dict) else None
    return named if isinstance(named, str) and named else None


def same_store(planned: Mapping[str, str] | None, here: Mapping[str, str] | None) -> bool:
    """Whether two names mean one store: by its own id where both have one, otherwise by its address."""
    if planned is None or here is None:
        return planned is here
    if planned.get("id") and here.get("id"):
        return planned["id"] == here["id"]
    # a plan that has an id was made from records; a store without any isn't that one
    if planned.get("id"):
        return False
    return {**planned, "id": ""} == {**here, "id": ""}


_AGAIN: Final = "run `lac plan -o FILE` again, and review the new plan"
_GIVE_KEY: Final = f"set {KEY_VARIABLE} to the key that it was made with"


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        _refuse("bad-plan-file", f"it has more than {MAX_BYTES:,} bytes", _AGAIN)
    try:
        held = json.loads(data.decode("ascii"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        _refuse(
            "bad-plan-file", "it isn't a plan, or only a part of one", "name a file that `lac plan -o` wrote"
        )
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        _refuse("bad-plan-file", "it isn't a plan", "name a file that `lac plan -o` wrote")
    if held.get("format_version") != FORMAT_VERSION:
        version = held.get("format_version")
        shown = version if isinstance(version, str) and len(version) < 20 else "something else"
        _refuse(
            "other-plan-version",
            f"its format version is {shown}, and this lac reads {FORMAT_VERSION}",
            "apply it with the lac that made it, or plan again",
        )
    return held


def _sealed(held: Mapping[str, Any], seal: object, key: bytes | None, data: bytes) -> bool:
    """Whether the seal is right, and the bytes are those that this module would write."""
    if not isinstance(seal, str):
        return False
    try:
        right = hmac.compare_digest(seal.encode(), _seal(held, key).encode())
        return right and _written({**held, "seal": seal}) == data
    except (ValueError, RecursionError):
        # a number too large for a float, half of a character, too much nesting: never written here
        return False


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _plan(held: _Plan, specs: Mapping[str, type[Spec]]) -> Plan:
    by_address = {change.address: _change(change, specs, held.mode) for change in held.changes}
    changes = tuple(in_order(linked(by_address)))
    plan = Plan(
        held.stack,
        held.environment,
        changes,
        steps(changes),
        held.diagnostics,
        held.mode,
        held.guards,
        held.review,
    )
    if not all(_came_from(change, plan) for change in changes if change.moved_from and change.side):
        raise ValueError("moved_from")
    return plan


def _change(held: _Change, specs: Mapping[str, type[Spec]], mode: Mode) -> Change:
    kind = specs[held.address.kind]
    before, after = (None if side is None else construct(kind, side) for side in (held.before, held.after))
    # what will be written is what a manifest may say
    written = after if held.action in (Action.CREATE, Action.UPDATE) else None
    if written and _canonical(kind.model_validate(plain(written), strict=False)) != _canonical(written):
        raise ValueError("after")
    if any(spec.address != held.address for spec in (before, after) if spec is not None):
        raise ValueError("address")
    if not _fits(held.action, before, after, moved=held.moved_from is not None):
        raise ValueError("action")
    fields: tuple[FieldChange, ...] = ()
    if before is not None and after is not None and held.action is Action.UPDATE:
        fields = diff(before, after)
    elif mode is Mode.REFRESH_ONLY and held.action is Action.RECORD:
        fields = held.fields
    return Change(
        held.address,
        kind.store,
        held.action,
        held.reason,
        before,
        after,
        fields,
        at=held.at,
        moved_from=held.moved_from,
        protected=held.protected,
    )


def _fits(action: Action, before: Spec | None, after: Spec | None, *, moved: bool) -> bool:
    """Whether an action has the sides that it is about."""
    match action:
        case Action.CREATE:
            return before is None and after is not None
        case Action.DELETE:
            return before is not None and after is None
        case Action.FORGET:
            return after is None
        case Action.MOVE:
            return before is not None and after is not None and moved and not diff(before, after)
        case Action.UPDATE | Action.RECORD:
            return before is not None and after is not None


def _came_from(change: Change, plan: Plan) -> bool:
    """Whether the plan's renames explain what the object is called until now."""
    back = [(after, before) for before, after in reversed(plan.moves)]
    return (
        change.side is not None
        and change.address != change.moved_from
        and renamed(change.side, back).address == change.moved_from
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


def _written(data: Any) -> bytes:
    return (json.dumps(data, indent=1, default=as_plain, allow_nan=False) + "\n").encode()


def _refuse(code: str, detail: str, hint: str) -> NoReturn:
    raise LacError(
        Diagnostic(code, "the plan file can't be applied", f"{detail[:1].upper()}{detail[1:]}.", hint=hint)
    )
