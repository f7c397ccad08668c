"""The fields of policy tests: a change, the evidence about its versions, the expected verdicts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from ...model.plan import Mode
from ...model.signature import SignatureClass
from ...model.spec import Part
from ..blocks.policy_shapes import Status

Verdict = Literal["passed", "warned", "denied", "waived", "none"]


class RunCase(Part):
    """The run that created a version."""

    id: str = "0" * 32
    name: str = ""
    status: Status = "FINISHED"
    user: str = ""
    commit: str = ""
    experiment: str = ""
    deleted: bool = False


class SideCase(Part):
    """The evidence about one version, under the names that expressions use."""

    version: int = 0
    source: str = ""
    tags: Mapping[str, str] = {}
    params: Mapping[str, str] = {}
    metrics: Mapping[str, float] = {}
    aliases: tuple[str, ...] = ()
    held_hours: Mapping[str, float] = {}
    datasets: tuple[str, ...] = ()
    flavors: Mapping[str, str] = {}
    python: str = ""
    mlflow: str = ""
    size: int | None = None
    artifact: Literal["present", "missing", "unknown"] = "present"
    run: RunCase | None = None
    missing: tuple[str, ...] = ()


class ChangeCase(Part):
    """The change to judge. `before` and `after` are the object's own fields, without its name."""

    address: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


class EvidenceCase(Part):
    """How the two versions compare. By default their signatures are the same."""

    signature: SignatureClass | None = None
    findings: tuple[str, ...] = ()
    breaking: tuple[str, ...] = ()


class AccessCase(Part):
    """A user whose level changes."""

    user: str
    resource: str
    before: str = "NO_PERMISSIONS"
    after: str = "NO_PERMISSIONS"


class ActorCase(Part):
    """The user who plans."""

    user: str = ""
    ci: str = ""
    host: str = ""
    commit: str = ""
    dirty: bool = False


class Expected(Part):
    """A verdict, and texts that its unmet requirements contain."""

    outcome: Verdict
    failed: tuple[str, ...] = ()


class PolicyTest(Part):
    """One change and its expected verdicts."""

    name: str
    change: ChangeCase
    entity: str = ""
    before: SideCase | None = None
    after: SideCase | None = None
    evidence: EvidenceCase = EvidenceCase()
    access: tuple[AccessCase, ...] = ()
    endpoints: tuple[str, ...] = ()
    environment: str = ""
    mode: Mode = Mode.NORMAL
    actor: ActorCase = ActorCase()
    now: date | None = None
    expect: Mapping[str, Verdict | Expected]


class PolicyTests(Part):
    """A file of tests."""

    tests: tuple[PolicyTest, ...]
