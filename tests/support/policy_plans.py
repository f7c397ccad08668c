"""Plans with a promotion and its evidence, and policies over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.model.diagnostics import Source
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.evidence import Better, Comparison, Dataset, Direction, Evidence, Metric, Run
from lifecycle_as_code.model.history import Actor
from lifecycle_as_code.model.plan import Action, Change, Plan
from lifecycle_as_code.model.policy import Expression, Policy, Rules
from lifecycle_as_code.model.review import Outcome, Review, Verdict
from lifecycle_as_code.model.signature import Signature, SignatureChange, SignatureClass
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.review.evidence import compare
from lifecycle_as_code.review.policy.judge import judge

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ALICE = Actor(user="runner", ci="alice", host="ci-7", commit="0a1b")
CHAMPION = Address("model_alias", ("fraud", "champion"))
LINE, PLACE = Source("models.yaml", 9, 5), Source("rules.yaml", 2, 5)


def spec(kind: str, **fields: Any) -> Spec:
    made: Spec = KINDS[kind].spec.model_validate(fields)
    return made


def alias(version: int, name: str = "champion", model: str = "fraud") -> Spec:
    return spec("model_alias", model=model, alias=name, version=version)


def change(before: Spec | None, after: Spec | None, action: Action | None = None) -> Change:
    side = after or before
    assert side is not None
    derived = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    fields = diff(before, after) if before and after else ()
    return Change(
        side.address, side.store, action or derived, "manifest changed", before, after, fields, at=LINE
    )


def hours_ago(hours: float) -> int:
    return round((NOW.timestamp() - hours * 3600) * 1000)


def known(version: int, **said: Any) -> Evidence:
    return Evidence("fraud", version, **said)


APPROVED = {"validation_status": "approved"}
BEFORE = known(3, metrics=(Metric("auc", 0.95),), tags=APPROVED, aliases=("champion",))
AFTER = known(
    4,
    metrics=(Metric("auc", 0.96), Metric("log_loss", 0.2), Metric("bad", None)),
    tags={**APPROVED, "team": "risk"},
    params={"depth": "7"},
    aliases=("challenger",),
    since_ms={"challenger": hours_ago(30)},
    run=Run("a" * 32, status="FINISHED", user="bob", commit="c0ffee"),
    artifact=True,
    size=12_000,
    datasets=(Dataset("payments", "d1"),),
    flavors={"sklearn": "1.5"},
    signature=Signature(),
)
SAME = SignatureChange(SignatureClass.SAME)


def comparison(
    before: Evidence | None = BEFORE,
    after: Evidence | None = AFTER,
    signature: SignatureChange = SAME,
    address: Address = CHAMPION,
    entity: str = "",
) -> Comparison:
    directions = (Direction("auc", Better.HIGHER), Direction("*loss", Better.LOWER))
    made = compare(address, "fraud", before, after, directions, entity)
    return replace(made, signature=signature)


PROMOTION = change(alias(3), alias(4))


def plan(*changes: Change, evidence: tuple[Comparison, ...] = (), **said: Any) -> Plan:
    review = Review(evidence, said.pop("impacts", ()))
    return Plan("payments", said.pop("environment", "prod"), changes, (), review=review, **said)


PROMOTED = plan(PROMOTION, evidence=(comparison(),))


def policy(*require: str, when: Mapping[str, Any] | None = None, name: str = "p", **said: Any) -> Policy:
    level = said.pop("level", "deny")
    expressions = tuple(Expression(text, PLACE, 0) for text in require)
    return Policy(name, when or {}, expressions, said, "mind this", level, PLACE)


def judged(
    one: Policy, on: Plan = PROMOTED, *, actor: Actor = ALICE, now: datetime = NOW, **said: Any
) -> tuple[Verdict, ...]:
    return judge(on, Rules((one,), **said), actor=actor, now=now)


def failed(one: Policy, on: Plan = PROMOTED, **said: Any) -> list[str]:
    """What isn't met, all verdicts together; each verdict is as it should be."""
    verdicts = judged(one, on, **said)
    for verdict in verdicts:
        assert (verdict.outcome is Outcome.DENIED) == bool(verdict.failed)
    return [sentence for verdict in verdicts for sentence in verdict.failed]


GRANT = spec("permission", role="analysts", resource_type="registered_model", resource="fraud", level="READ")


MANAGE = GRANT.model_copy(update={"level": "MANAGE"})


SECRET = "ghp_" + "a" * 36


def model(**tags: str) -> Spec:
    return spec("registered_model", name="fraud", tags=tags)


def version(evidence: Evidence, **said: Any) -> Plan:
    return plan(PROMOTION, evidence=(comparison(after=evidence, **said),))


SOAK = {"alias": "challenger", "hours": 24.0}
