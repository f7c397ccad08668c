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
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from ..model.diagnostics import Diagnostic, LacError, Source
from ..model.diff import FieldChange, diff
from ..model.history import Actor
from ..model.plan import Action, Allowed, Change, Mode, Plan
from ..model.review import Review
from ..model.spec import Spec, construct, parse_address, plain
from ..views.json import as_plain, plan_data
from . import encoding
from .ordering import in_order, linked, steps
from .renames import renamed

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


def digest(plan: Plan) -> str:
    """A name for exactly this plan, saved or not."""
    return _sha256(_canonical(plan_data(plan)))


def dump(plan: Plan, origin: Origin, key: bytes | None = None) -> bytes:
    """The file's bytes, sealed with `key`, or with a digest where there is none."""
    body = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "digest": digest(plan),
        "origin": asdict(origin),
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
        # half of a character can be written in JSON, and nowhere else
        json.dumps(held, ensure_ascii=False).encode()
        plan = _plan(held["plan"], specs)
        origin = _origin(held["origin"])
        same = _same(plan, held["plan"]) and held["digest"] == digest(plan)
    except (LookupError, TypeError, ValueError, AttributeError, ValidationError, RecursionError) as error:
        _refuse("bad-plan-file", f"the plan can't be read: {type(error).__name__}", _AGAIN)
    if not same:
        _refuse("plan-altered", "the plan's parts don't agree with each other", _AGAIN)
    return SavedPlan(replace(plan, file_id=_sha256(data)), origin, held["digest"], signed)


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


def _plan(data: Mapping[str, Any], specs: Mapping[str, type[Spec]]) -> Plan:
    mode = Mode(data["mode"])
    changes = tuple(_change(change, specs, mode) for change in data["changes"])
    return Plan(
        str(data["stack"]),
        str(data["environment"]),
        changes,
        steps(changes),
        tuple(_diagnostic(found) for found in data["diagnostics"]),
        mode,
        tuple(Allowed(str(v["guard"]), str(v["detail"])) for v in data["guards"]),
        encoding.read(Review, data["review"], specs),
    )


def _change(data: Mapping[str, Any], specs: Mapping[str, type[Spec]], mode: Mode) -> Change:
    address = parse_address(data["address"], specs)
    kind = specs[address.kind]
    action = Action(data["action"])
    before, after = (
        None if data[side] is None else construct(kind, data[side]) for side in ("before", "after")
    )
    # what will be written is what a manifest may say
    written = after if action in (Action.CREATE, Action.UPDATE) else None
    if written and _canonical(kind.model_validate(plain(written), strict=False)) != _canonical(written):
        raise ValueError("after")
    for spec in (before, after):
        if spec is not None and spec.address != address:
            raise ValueError("address")
    fields = tuple(FieldChange(tuple(f["path"]), f["before"], f["after"]) for f in data["fields"])
    if not _fits(action, before, after, moved=data["moved_from"] is not None):
        raise ValueError("action")
    if before is not None and after is not None and action is Action.UPDATE:
        if _canonical(diff(before, after)) != _canonical(fields):
            raise ValueError("fields")
        fields = diff(before, after)
    elif fields and not (mode is Mode.REFRESH_ONLY and action is Action.RECORD):
        raise ValueError("fields")
    return Change(
        address,
        kind.store,
        action,
        str(data["reason"]),
        before,
        after,
        fields,
        frozenset(parse_address(text, specs) for text in data["waits_for"]),
        _source(data["at"]),
        None if data["moved_from"] is None else parse_address(data["moved_from"], specs),
        bool(data["protected"]),
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


def _same(plan: Plan, held: Any) -> bool:
    """Whether the plan says what is in the file, and what follows from its changes is what follows."""
    by_address = {change.address: change for change in plan.changes}
    again = {change.address: change.waits_for for change in linked(by_address)}
    return (
        len(by_address) == len(plan.changes)
        and in_order(plan.changes) == list(plan.changes)
        and all(change.waits_for == again[change.address] for change in plan.changes)
        and all(_came_from(change, plan) for change in plan.changes if change.moved_from and change.side)
        and json.loads(_canonical(plan_data(plan))) == held
    )


def _came_from(change: Change, plan: Plan) -> bool:
    """Whether the plan's renames explain what the object is called until now."""
    back = [(after, before) for before, after in reversed(plan.moves)]
    return (
        change.side is not None
        and change.address != change.moved_from
        and renamed(change.side, back).address == change.moved_from
    )


def _diagnostic(data: Mapping[str, Any]) -> Diagnostic:
    return Diagnostic(
        str(data["code"]),
        str(data["summary"]),
        str(data["detail"]),
        hint=str(data["hint"]),
        at=_source(data["at"]),
        severity="error" if data["severity"] == "error" else "warning",
        guard=str(data["guard"]),
    )


def _source(data: Mapping[str, Any] | None) -> Source | None:
    return None if data is None else Source(str(data["file"]), int(data["line"]), int(data["column"]))


def _origin(data: Mapping[str, Any]) -> Origin:
    return Origin(
        str(data["workspace"]),
        {str(role): {str(k): str(v) for k, v in held.items()} for role, held in data["stores"].items()},
        str(data["manifests"]),
        str(data["made_at"]),
        Actor.of(data["made_by"]),
        str(data["lac"]),
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
