"""Plans to look at: one with everything that a review can hold, made of the real Spec classes; the same with
hostile names in all of it; and one with more than fits anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint.spec import Route, ServedEntity, ServingEndpoint, TrafficConfig
from lifecycle_as_code.model.diagnostics import Diagnostic, Source
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.evidence import Better, Comparison, Dataset, Direction, Evidence, Metric, Run
from lifecycle_as_code.model.plan import Action, Change, Override, Plan
from lifecycle_as_code.model.review import (
    Access,
    Capacity,
    Choice,
    Impact,
    Outcome,
    Review,
    Traffic,
    Verdict,
    Waiver,
)
from lifecycle_as_code.model.signature import SignatureChange, SignatureClass
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.ordering import build_steps, link_changes, sort_changes
from lifecycle_as_code.review.evidence import compare

Said = Callable[[str], str]
"""What stands where a user's word would: the word itself, or something worse."""

ALIAS = Address("model_alias", ("fraud", "champion"))

DIRECTIONS = (
    Direction("*auc*", Better.HIGHER),
    Direction("log_loss", Better.LOWER),
    Direction("latency_*", Better.LOWER),
)

HOSTILE = (
    "<script>document.title='run'</script>",
    '"><img src=x onerror="document.title=\'run\'">',
    "</code></details></style></script><h1>out</h1>",
    "javascript:alert(1) https://evil.example/ www.evil.example a@evil.example",
    "@alice #1 GH-1 evil/repo#2 https://github.com/evil/repo/issues/3 :tada: $x$",
    "| a | `b` ``c`` \\| *d* _e_ ~~f~~ [g](h) ![i](j) <!-- k -->",
    "--> ]]> &lt;b&gt; &amp; {{ 7*7 }} {% raw %}",
    "one\ntwo\r\n# three\n\n- four\n::error::five\n```\nsix",
    "\u202egnp.exe\u2066 \u200b\u200d\ufe0f \x1b[31mred\x1b[0m \x07\x00",
    "- item",
    "1. item",
    "w" * 300,
    "中文" * 150,
    "",
)
"""What somebody could call a model, a policy, a user or a file, where a store or a file lets them."""


def as_said(word: str) -> str:
    """Every word as it is."""
    return word


def always(word: str) -> Said:
    """That word everywhere."""
    return lambda _: word


def changed(before: Spec | None, after: Spec | None, reason: str = "", **more: Any) -> Change:
    """A change as planning would make it."""
    side = after or before
    assert side is not None
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    usual = {Action.CREATE: "declared", Action.DELETE: "no longer declared"}.get(action, "manifest changed")
    fields = diff(before, after) if before is not None and after is not None else ()
    settings = {"action": action, "reason": reason or usual, "fields": fields, **more}
    return Change(side.address, side.store, before=before, after=after, **settings)


def planned(*changes: Change, **settings: Any) -> Plan:
    """A plan of these changes, in order and in steps."""
    ordered = tuple(sort_changes(link_changes({change.address: change for change in changes})))
    return replace(Plan("payments", "prod", ordered, build_steps(ordered)), **settings)


def rich(said: Said = as_said) -> Plan:
    """A promotion that breaks its callers, with everything around it. `said` is asked for each word of a
    user's."""
    model = said("fraud")
    alias = Address("model_alias", (model, said("champion")))
    endpoint = Address("serving_endpoint", (said("fraud-scoring"),))
    grant = Permission.model_construct(
        role=said("interns"), resource_type="registered_model", resource=model, level="READ"
    )
    version = ModelVersion.model_construct(
        model=model,
        version=5,
        source=said("runs:/4f0c9f/model"),
        description=said("Trained without the device's age."),
        tags={said("validation_status"): said("pending")},
    )
    return planned(
        changed(None, version, at=_at(said, 14)),
        changed(_alias(said, 3), _alias(said, 4), at=_at(said, 18), protected=True),
        changed(_endpoint(said, 3, 1), _endpoint(said, 4, 2), f"follows {alias}", at=_at(said, 31)),
        changed(grant, None),
        changed(
            RegisteredModel.model_construct(name=model, description=said("Scores card payments."), tags={}),
            RegisteredModel.model_construct(
                name=model,
                description=said("Scores card payments.\n\nOwned by the risk team.\nAsk before calling it."),
                tags={said("team"): said("risk")},
            ),
            at=_at(said, 3),
        ),
        changed(
            RegisteredModel.model_construct(name=said("churn"), description="", tags={}),
            RegisteredModel.model_construct(name=said("churn"), description="", tags={}),
            "already so",
            action=Action.RECORD,
        )
        if said("churn") != model
        else changed(None, version),
        diagnostics=(
            Diagnostic(
                "silent-webhooks",
                "webhooks won't be called",
                f"`{said('slack-promotions')}` would have been told of {alias}.\nIt listens to MLflow alone.",
                hint="call it yourself, or promote through MLflow's API",
                at=_at(said, 18),
                severity="warning",
            ),
        ),
        allowed=(Override("access-lost", said("The role interns loses READ on fraud.")),),
        review=Review(
            _evidence(said, alias, version.address, endpoint),
            _impacts(said, alias, endpoint, grant.address),
            _verdicts(said, alias, version.address, endpoint),
            (
                Choice(
                    alias,
                    "version",
                    said('{where: tags.validation_status == "approved", newest: true}'),
                    4,
                    ((5, said("validation_status is pending")), (3, said("older")), (2, said("deleted"))),
                ),
            ),
        ),
    )


def _at(said: Said, line: int) -> Source:
    return Source(said("models/fraud.yaml"), line, 7)


def _alias(said: Said, version: int) -> ModelAlias:
    return ModelAlias.model_construct(model=said("fraud"), alias=said("champion"), version=version)


def _endpoint(said: Said, version: int, replicas: int) -> ServingEndpoint:
    names = said("champion"), said("shadow") if said("shadow") != said("champion") else said("shadow") + "2"
    return ServingEndpoint.model_construct(
        name=said("fraud-scoring"),
        served_entities=tuple(
            ServedEntity.model_construct(
                name=name,
                entity_name=said("fraud"),
                entity_version=number,
                min_replicas=count,
                follows=follows,
            )
            for name, number, count, follows in (
                (names[0], version, replicas, "@" + said("champion")),
                (names[1], 2, 1, None),
            )
        ),
        traffic_config=TrafficConfig.model_construct(
            routes=tuple(
                Route.model_construct(served_entity_name=name, traffic_percentage=share)
                for name, share in zip(names, (90, 10), strict=True)
            )
        ),
    )


def _evidence(said: Said, alias: Address, version: Address, endpoint: Address) -> tuple[Comparison, ...]:
    model = said("fraud")
    before = Evidence(
        model,
        3,
        source=said("models:/m-31f0"),
        run=Run(
            "8d2c71b0a9e64f54b1f0a4d3c2e1f009",
            said("nightly-0412"),
            said("fraud-training"),
            "FINISHED",
            said("maria"),
            said("9f1c2ab34d5e6f708192a3b4c5d6e7f801234567"),
            said("train.py"),
            1_790_000_000_000,
            1_790_000_360_000,
            link="#/experiments/12/runs/8d2c71b0a9e64f54b1f0a4d3c2e1f009",
        ),
        metrics=(
            Metric(said("auc"), 0.9312, said("payments-2026-q2"), said("a1b2c3d4")),
            Metric(said("auc_holdout"), 0.9101),
            Metric(said("log_loss"), 0.2134),
            Metric(said("latency_p99_ms"), 18.4),
            Metric(said("rows"), 1_200_000.0),
            Metric(said("calibration"), None),
        ),
        params={said("max_depth"): "6", said("learning_rate"): "0.1", said("seed"): "7"},
        datasets=(Dataset(said("payments-2026-q2"), said("a1b2c3d4"), "training"),),
        tags={said("validation_status"): said("approved")},
        aliases=(said("champion"),),
        flavors={"sklearn": "1.5.2", "python_function": ""},
        python="3.11.9",
        mlflow="3.10.0",
        size=12_400_000,
        artifact=True,
    )
    after = replace(
        before,
        version=4,
        source=said("models:/m-77aa"),
        run=replace(
            before.run or Run(""),
            run_id="c07b13d25a0f4d7f9f0f3f5d1e6a7b88",
            name=said("nightly-0519"),
            user=said("jonas"),
            commit=said("1b2c3d4e5f60718293a4b5c6d7e8f90123456789"),
            link="#/experiments/12/runs/c07b13d25a0f4d7f9f0f3f5d1e6a7b88",
        ),
        metrics=(
            Metric(said("auc"), 0.9447, said("payments-2026-q2"), said("a1b2c3d4")),
            Metric(said("auc_holdout"), 0.9088),
            Metric(said("log_loss"), 0.1987),
            Metric(said("latency_p99_ms"), 23.9),
            Metric(said("rows"), 1_200_000.0),
            Metric(said("calibration"), 0.02),
        ),
        params={said("max_depth"): "8", said("learning_rate"): "0.1", said("subsample"): "0.9"},
        datasets=(Dataset(said("payments-2026-q3"), said("e5f60718"), "training"),),
        aliases=(said("challenger"),),
        flavors={"sklearn": "1.6.1", "python_function": ""},
        python="3.12.4",
        size=18_900_000,
        missing=(said("the input example: none was logged"),),
        since_ms={said("challenger"): 1_790_100_000_000},
    )
    gone = said("device_age")
    signature = SignatureChange(
        SignatureClass.BREAKING,
        (f'input "{gone}" (double) is gone', f'input "{said("country")}" (string) was added, optional'),
        (f'input "{gone}" (double) is gone',),
    )
    promoted = replace(compare(alias, model, before, after, DIRECTIONS), signature=signature)
    served = replace(promoted, address=endpoint, entity=said("champion"))
    unknown = Evidence(
        model, 5, said("runs:/4f0c9f/model"), missing=(said("the run: deleted for good"),), artifact=False
    )
    return promoted, served, compare(version, model, None, unknown, DIRECTIONS)


def _impacts(said: Said, alias: Address, endpoint: Address, grant: Address) -> tuple[Impact, ...]:
    model = Address("registered_model", (said("fraud"),))
    elsewhere = Address("serving_endpoint", (said("checkout"),))
    return (
        Impact(
            alias,
            traffic=(
                Traffic(endpoint, said("champion"), "", 90.0, "@" + said("champion"), 3, 4, True),
                Traffic(elsewhere, said("risk"), said("shop"), 100.0, "@" + said("champion"), 3, 4),
            ),
        ),
        Impact(
            endpoint,
            traffic=(Traffic(endpoint, said("champion"), "", 90.0, "@" + said("champion"), 3, 4, True),),
            capacity=(Capacity(endpoint, 2, 3, 2.0, 3.0, 0.0, 0.0, 2.0, 0.0, 1.5, 0.0, False),),
        ),
        Impact(
            grant,
            access=(
                Access(said("paula"), model, "READ", "NO_PERMISSIONS", said("was READ through interns")),
                Access(said("tom"), model, "READ", "USE", said("USE through analysts; READ was interns'")),
            ),
        ),
    )


def _verdicts(said: Said, alias: Address, version: Address, endpoint: Address) -> tuple[Verdict, ...]:
    place = Source(said("policies.yaml"), 3, 5)
    return (
        Verdict(said("required-tags"), version, Outcome.PASSED, at=place, line=_at(said, 14)),
        Verdict(
            said("latency-budget"),
            endpoint,
            Outcome.WARNED,
            (said("after.metrics.latency_p99_ms <= 20.0 (it is 23.9)"),),
            said("Slower than what checkout agreed to."),
            Source(said("policies.yaml"), 21, 5),
            _at(said, 31),
        ),
        Verdict(
            said("soak-time"),
            alias,
            Outcome.WAIVED,
            (said("after held `challenger` for 24 hours (it did for 9)"),),
            said("Let it soak for a day."),
            Source(said("policies.yaml"), 12, 5),
            _at(said, 18),
            Waiver(
                said("fraud wave of 23 November, agreed with risk"),
                "2026-11-30",
                Source(said("waivers.yaml"), 2, 3),
            ),
        ),
        Verdict(
            said("champion-must-be-better"),
            alias,
            Outcome.DENIED,
            (
                said('signature != "breaking"'),
                said("after.metrics.auc_holdout >= before.metrics.auc_holdout"),
            ),
            said("A champion may not break its callers. Train it with all columns, or talk to @payments."),
            place,
            _at(said, 18),
        ),
    )


def huge(number: int = 2_000, texts: int = 200) -> Plan:
    """`number` new models, each with a description of `texts` characters; two of them denied."""
    models = [
        RegisteredModel.model_construct(name=f"model-{n:05}", description="d" * texts, tags={"n": str(n)})
        for n in range(number)
    ]
    return planned(
        *(changed(None, model) for model in models),
        review=Review(
            verdicts=tuple(
                Verdict("no-new-models", model.address, Outcome.DENIED, ("false",), "Not this week.")
                for model in models[:2]
            )
        ),
    )
