"""Models at providers, and what an endpoint does beside answering: declared, resolved, read back from Ray."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError
from support.fake_cluster import Paper

from lifecycle_as_code.kinds.base import Site
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint, ServingEndpoints
from lifecycle_as_code.kinds.serving_endpoint.apps import as_apps
from lifecycle_as_code.kinds.serving_endpoint.external import ExternalModel
from lifecycle_as_code.kinds.serving_endpoint.gateway import AiGateway
from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.history import Actor
from lifecycle_as_code.model.plan import Action, Change, Plan
from lifecycle_as_code.model.snapshot import Live, Observed, Recorded
from lifecycle_as_code.model.spec import Address, construct, plain
from lifecycle_as_code.planning.guards import PlanContext
from lifecycle_as_code.planning.ordering import build_steps
from lifecycle_as_code.planning.planfile import Origin, dump, load

KIND = ServingEndpoints()
ADDRESS = Address("serving_endpoint", ("chat",))
SOURCES: Mapping[str, Mapping[str, Any]] = {"openai/key": {"file": "/run/key"}}
SITE = Site(
    "tests",
    "sqlite:////auth.db",
    secrets=SOURCES,
    usage_store="sqlite:////usage.db",
    rate_limit_store="redis://counts",
)
KEY = "{{secrets/openai/key}}"

CONFIGS: dict[str, dict[str, Any]] = {
    "openai": {"openai_config": {"openai_api_key": KEY}},
    "anthropic": {"anthropic_config": {"anthropic_api_key": "{{ env.ANTHROPIC_API_KEY }}"}},
    "amazon-bedrock": {"amazon_bedrock_config": {"aws_region": "eu-west-1", "bedrock_provider": "anthropic"}},
    "cohere": {"cohere_config": {"cohere_api_key": KEY}},
    "google-cloud-vertex-ai": {
        "google_cloud_vertex_ai_config": {"project_id": "p", "region": "r", "private_key": KEY}
    },
    "databricks-model-serving": {
        "databricks_model_serving_config": {
            "databricks_workspace_url": "https://dbc.example",
            "databricks_api_token": KEY,
        }
    },
    "custom": {"custom_provider_config": {"custom_provider_url": "http://10.0.0.5:8000/v1"}},
}


def external(provider: str = "openai", task: str = "llm/v1/chat", **fields: Any) -> ExternalModel:
    values = {"name": "m", "task": task, "provider": provider, **CONFIGS[provider], **fields}
    return ExternalModel.model_validate(values)


def proxy(name: str = "small", **options: Any) -> ServedEntity:
    return ServedEntity(name=name, external_model=options.pop("model", external()), **options)


def endpoint(*entities: ServedEntity, **options: Any) -> ServingEndpoint:
    share = 100 // len(entities)
    routes = [{"served_entity_name": e.name, "traffic_percentage": share} for e in entities]
    options = {"auth": "none", "traffic_config": {"routes": tuple(routes)}, **options}
    return ServingEndpoint.model_validate({"name": "chat", "served_entities": entities, **options})


def settle(
    spec: ServingEndpoint, site: Site = SITE, live: Observed | None = None
) -> list[ServingEndpoint | Diagnostic]:
    found = KIND.settle(site, {ADDRESS: spec}, {ADDRESS: live} if live else {})
    return [result for _, result in found if isinstance(result, ServingEndpoint | Diagnostic)]


def settled(spec: ServingEndpoint) -> ServingEndpoint:
    (result,) = settle(spec)
    assert isinstance(result, ServingEndpoint), result
    return result


@pytest.mark.parametrize("provider", CONFIGS)
def test_every_provider_is_written_as_it_was_declared(provider: str) -> None:
    model = external(provider)
    assert model.written() == {"name": "m", "task": "llm/v1/chat", "provider": provider, **CONFIGS[provider]}
    assert construct(ExternalModel, model.written()) == model


ENTRA = {"openai_api_type": "azuread", "openai_api_base": "https://a", "openai_api_version": "v"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no config": ({"provider": "openai"}, "`provider: openai` needs `openai_config`"),
    "another provider's config": (
        {"provider": "openai", **CONFIGS["openai"], **CONFIGS["cohere"]},
        "`cohere_config` doesn't belong to `provider: openai`",
    ),
    "a key in clear": (
        {"provider": "openai", "openai_config": {"openai_api_key": "sk-canary"}},
        "a key must be a reference",
    ),
    "part of a key in clear": (
        {"provider": "openai", "openai_config": {"openai_api_key": "sk-{{ env.CANARY }}"}},
        "a key must be a reference",
    ),
    "no key": ({"provider": "openai", "openai_config": {}}, "needs `openai_api_key`"),
    "Azure without a deployment": (
        {"provider": "openai", "openai_config": {**ENTRA, "openai_api_type": "azure", "openai_api_key": KEY}},
        "`openai_api_type: azure` needs `openai_deployment_name`",
    ),
    "Entra without a tenant": (
        {"provider": "openai", "openai_config": ENTRA},
        "`openai_api_type: azuread` needs `microsoft_entra_tenant_id`",
    ),
    "half of AWS' keys": (
        {
            "provider": "amazon-bedrock",
            "amazon_bedrock_config": {
                **CONFIGS["amazon-bedrock"]["amazon_bedrock_config"],
                "aws_access_key_id": KEY,
            },
        },
        "go together",
    ),
    "an unknown field": (
        {"provider": "openai", "openai_config": {"openai_api_key": KEY, "openai_api_kye": KEY}},
        "openai_api_kye",
    ),
    "a key in clear as its twin": (
        {"provider": "openai", "openai_config": {"openai_api_key_plaintext": "sk-canary"}},
        "openai_api_key_plaintext",
    ),
    "embeddings of Anthropic's": (
        {"provider": "anthropic", **CONFIGS["anthropic"], "task": "llm/v1/embeddings"},
        "`provider: anthropic` has no embeddings for `m`",
    ),
    "embeddings of Anthropic's at Amazon": (
        {"provider": "amazon-bedrock", **CONFIGS["amazon-bedrock"], "task": "llm/v1/embeddings"},
        "`provider: amazon-bedrock` has no embeddings for `m`",
    ),
    "an unknown task": ({**CONFIGS["openai"], "provider": "openai", "task": "llm/v1/chats"}, "llm/v1/chat"),
    "an unknown provider": ({"provider": "palm"}, "openai"),
    "not an address": (
        {"provider": "custom", "custom_provider_config": {"custom_provider_url": "llm.example"}},
        "an address begins with `https://`",
    ),
}


@pytest.mark.parametrize(("fields", "message"), WRONG.values(), ids=WRONG)
def test_a_model_that_cannot_be_asked_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ExternalModel.model_validate({"name": "m", "task": "llm/v1/chat", **fields})
    assert message in str(raised.value)
    if "canary" in str(fields):
        # what the command shows of an error has no input in it
        assert "canary" not in str(raised.value.errors(include_input=False, include_url=False)[0]["msg"])


ENTITIES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "needs `entity_name` and `entity_version`, or `external_model`"),
    "a model without a version": ({"entity_name": "fraud"}, "needs `entity_version`, too"),
    "a version without a model": ({"entity_version": 3}, "needs `entity_name` and `entity_version`"),
    "two models": (
        {"entity_name": "fraud", "entity_version": 3, "external_model": external()},
        "`entity_name` and `external_model` exclude each other",
    ),
    "files without a task": ({"source": "hf://a/b"}, "`source` needs `task`"),
    "relative files": ({"source": "models/a", "task": "llm/v1/chat"}, "an absolute path on the nodes"),
    "GPUs at a provider": ({"external_model": external(), "num_gpus": 1.0}, "`num_gpus` has no meaning"),
    "a first token of a custom model": (
        {"entity_name": "fraud", "entity_version": 3, "first_token_timeout": 3.0},
        "for `external_model` alone",
    ),
    "two sizes": (
        {"entity_name": "f", "entity_version": 3, "workload_size": "Small", "max_ongoing_requests": 3},
        "exclude each other",
    ),
}


@pytest.mark.parametrize(("fields", "message"), ENTITIES.values(), ids=ENTITIES)
def test_an_entity_is_one_model(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        ServedEntity(name="e", **fields)


LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing limited": ({"renewal_period": "minute"}, "either `calls` or `tokens`"),
    "both": ({"calls": 1, "tokens": 1, "renewal_period": "minute"}, "either `calls` or `tokens`"),
    "a role without a name": (
        {"calls": 1, "key": "user_group", "renewal_period": "day"},
        "`key: user_group` needs `principal`",
    ),
    "a user of the endpoint": (
        {"calls": 1, "principal": "ann", "renewal_period": "day"},
        "has no `principal`",
    ),
    "a week": ({"calls": 1, "renewal_period": "week"}, "minute"),
}


@pytest.mark.parametrize(("limit", "message"), LIMITS.values(), ids=LIMITS)
def test_a_limit_that_limits_nothing_is_refused(limit: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        AiGateway.model_validate({"rate_limits": (limit,)})
    assert message in str(raised.value)


def test_two_limits_of_the_same_callers_contradict_each_other() -> None:
    one = {"calls": 1, "renewal_period": "minute"}
    with pytest.raises(ValidationError, match="two rate limits count calls per minute of all callers"):
        AiGateway.model_validate({"rate_limits": (one, {**one, "calls": 2})})


def test_the_entities_of_an_endpoint_have_one_task() -> None:
    with pytest.raises(ValidationError, match="have one task; `a` has llm/v1/chat, `b` llm/v1/embeddings"):
        endpoint(proxy("a"), proxy("b", model=external(task="llm/v1/embeddings")))


def test_guardrails_need_texts() -> None:
    model = ServedEntity(name="e", entity_name="fraud", entity_version=3)
    with pytest.raises(ValidationError, match="`guardrails` read the texts of language models"):
        endpoint(model, ai_gateway={"guardrails": {"input": {"invalid_keywords": ("x",)}}})


GATEWAY = {
    "rate_limits": (
        {"calls": 10, "renewal_period": "minute"},
        {"tokens": 500, "key": "user_group", "principal": "analysts", "renewal_period": "day"},
    ),
    "guardrails": {"input": {"pii": {"behavior": "MASK"}, "patterns": ({"name": "id", "regex": "A[0-9]+"},)}},
    "usage_tracking_config": {"enabled": True},
    "inference_table_config": {"enabled": True, "sampling_fraction": 0.5},
    "fallback_config": {"enabled": True},
    "rate_limit_failure_mode": "closed",
}
AUTH = {"oidc": {"issuer": "https://login.example", "audience": "chat"}, "grace": 30.0}


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    return Paper.at_once(monkeypatch)


def live(paper: Paper) -> Observed | None:
    return KIND.observe(paper).objects.get(ADDRESS)


def roll_out(paper: Paper, after: ServingEndpoint | None) -> list[str]:
    found = live(paper)
    before = found.spec if found else None
    action = Action.UPDATE if before and after else Action.CREATE if after else Action.DELETE
    change = Change(ADDRESS, KIND.spec.store, action, "", before, after)
    problems = []
    for phase in (KIND.warm_up, KIND.cut_over, KIND.retire):
        if not problems and (after or phase == KIND.retire):
            done = phase(paper, SITE, [change], lambda _: None)
            problems += [r.problem.detail for r in done if r.problem]
    return problems


def test_a_gateway_to_providers_is_one_app_that_reads_back_as_it_was_meant(paper: Paper) -> None:
    spec = settled(
        endpoint(
            proxy("small", timeout=5.0, first_token_timeout=2.0, max_retries=0, min_replicas=2),
            proxy("large", model=external("anthropic")),
            ai_gateway=GATEWAY,
            auth=AUTH,
        )
    )
    assert roll_out(paper, spec) == []
    assert list(paper.apps) == ["lac.chat"]
    config = paper.apps["lac.chat"]
    assert "primary" not in config["args"]
    assert config["deployments"][0]["ray_actor_options"] == {"num_cpus": 0, "num_gpus": 0}
    assert config["deployments"][0]["num_replicas"] == 2
    assert config["deployments"][0]["max_ongoing_requests"] == 2000
    found = live(paper)
    assert found
    assert diff(found.spec, spec) == ()
    assert construct(ServingEndpoint, plain(spec)) == spec
    assert "health" not in found.facts
    assert roll_out(paper, None) == []
    assert paper.apps == {}


def test_the_order_of_entities_counts_where_they_answer_for_each_other(paper: Paper) -> None:
    entities = proxy("a"), proxy("b", model=external("cohere"))
    for gateway, count in (({}, 0), ({"fallback_config": {"enabled": True}}, 1)):
        roll_out(paper, settled(endpoint(*entities, ai_gateway=gateway)))
        after = settled(endpoint(*reversed(entities), ai_gateway=gateway))
        found = live(paper)
        assert found
        assert [change.name for change in diff(found.spec, after)] == ["fallback_order"] * count
        roll_out(paper, after)
        assert diff(live(paper).spec, after) == ()  # type: ignore[union-attr]  # None fails the test as well
    rows = paper.apps["lac.chat"]["deployments"][0]["user_config"]["targets"]
    assert [row["name"] for row in rows] == ["b", "a"]


def test_a_provider_changes_without_a_restart(paper: Paper) -> None:
    first = settled(endpoint(proxy()))
    roll_out(paper, first)
    args = paper.apps["lac.chat"]["args"]
    roll_out(paper, after := settled(endpoint(proxy(model=external("cohere")))))
    assert paper.apps["lac.chat"]["args"] == args
    assert diff(live(paper).spec, after) == ()  # type: ignore[union-attr]  # None fails the test as well


@pytest.mark.parametrize("auth", ["none", "basic", {}, {"grace": 0.0}, {"grace": 5.0}, AUTH])
@pytest.mark.parametrize(
    "gateway",
    [
        {},
        {"rate_limits": ()},
        {"rate_limit_failure_mode": "open"},
        {"usage_tracking_config": {}},
        {"guardrails": {"input": {"pii": {}}}},
        {"fallback_config": {"enabled": False}},
    ],
)
def test_settings_that_say_nothing_leave_the_plan_empty(paper: Paper, gateway: Any, auth: Any) -> None:
    spec = settled(endpoint(proxy(), ai_gateway=gateway, auth=auth))
    roll_out(paper, spec)
    assert diff(live(paper).spec, spec) == ()  # type: ignore[union-attr]  # None fails the test as well


@pytest.mark.parametrize(
    "edit",
    [
        lambda config: config["targets"][0].update(timeout=1.0),
        lambda config: config["targets"][0]["external_model"].update(name="other"),
        lambda config: config["gateway"].pop("guardrails"),
        lambda config: config["gateway"]["rate_limits"][0].update(calls=11),
        lambda config: config["auth"].update(mode="none", grace=0.0),
        lambda config: config["auth"]["oidc"].update(issuer="https://evil.example"),
        lambda config: config.update(usage_store="sqlite:////elsewhere.db"),
        lambda config: config["targets"][0].update(secrets={}),
        lambda config: config["targets"].pop(0),
        lambda config: config["auth"].update(mode="none"),
        lambda config: config["auth"].update(endpoint="other"),
        lambda config: config["targets"].reverse(),
    ],
    ids=[
        *("timeout", "model", "guardrails", "limit", "auth", "issuer", "usage", "secrets", "row"),
        *("no auth", "other grants", "order"),
    ],
)
def test_what_somebody_else_changed_is_drift(paper: Paper, edit: Any) -> None:
    spec = settled(endpoint(proxy(), proxy("b"), ai_gateway=GATEWAY, auth=AUTH))
    roll_out(paper, spec)
    edit(paper.apps["lac.chat"]["deployments"][0]["user_config"])
    found = live(paper)
    assert found
    assert diff(found.spec, spec)


@pytest.mark.parametrize("hosted", [False, True])
@pytest.mark.parametrize("field", ["num_replicas", "max_queued_requests", "max_ongoing_requests"])
def test_the_size_of_a_front_that_somebody_else_changed_is_drift(
    paper: Paper, field: str, hosted: bool
) -> None:
    own = ServedEntity(name="own", source="/models/chat", task="llm/v1/chat")
    spec = settled(endpoint(proxy(min_replicas=2), own if hosted else proxy("b", max_queued_requests=7)))
    roll_out(paper, spec)
    paper.apps["lac.chat"]["deployments"][0][field] += 1
    found = live(paper)
    assert found
    entity = "own" if hosted else "small"
    name = field if field.startswith("max") else "replicas"
    assert {change.name.replace("min_", "").replace("max_r", "r") for change in diff(found.spec, spec)} == {
        f"served_entities.{entity}.{name}"
    }
    roll_out(paper, spec)
    assert diff(live(paper).spec, spec) == ()  # type: ignore[union-attr]  # None fails the test as well


def test_a_custom_model_beside_a_provider_is_held_by_the_ingress_and_has_its_places(paper: Paper) -> None:
    own = ServedEntity(name="own", source="/models/chat", task="llm/v1/chat", max_ongoing_requests=8)
    spec = settled(endpoint(own, proxy("b", max_ongoing_requests=100)))
    assert roll_out(paper, spec) == []
    assert paper.apps["lac.chat"]["args"]["primary"]["task"] == "llm/v1/chat"
    assert paper.apps["lac.chat"]["deployments"][0]["max_ongoing_requests"] == 108
    assert diff(live(paper).spec, spec) == ()  # type: ignore[union-attr]  # None fails the test as well


def test_an_entity_that_scales_to_zero_has_an_app_of_its_own(paper: Paper) -> None:
    sleeper = ServedEntity(
        name="own", source="/models/chat", task="llm/v1/chat", max_replicas=2, scale_to_zero_enabled=True
    )
    spec = settled(endpoint(sleeper))
    assert as_apps("tests", spec).primary is None
    assert roll_out(paper, spec) == []
    (app,) = (config for name, config in paper.apps.items() if name != "lac.chat")
    assert app["deployments"][0]["autoscaling_config"] == {"min_replicas": 0, "max_replicas": 2}
    assert diff(live(paper).spec, spec) == ()  # type: ignore[union-attr]  # None fails the test as well
    assert "min_replicas" not in sleeper.written()


def test_an_ingress_without_a_model_has_places_for_all_that_it_asks(paper: Paper) -> None:
    sleeper = ServedEntity(
        name="own",
        source="/models/chat",
        task="llm/v1/chat",
        max_replicas=3,
        scale_to_zero_enabled=True,
        timeout=300.0,
    )
    assert roll_out(paper, settled(endpoint(sleeper))) == []
    (ingress,) = paper.apps["lac.chat"]["deployments"]
    # Ray's default is 5
    assert ingress["max_ongoing_requests"] == 3 * 64
    assert ingress["num_replicas"] == 1
    assert ingress["graceful_shutdown_timeout_s"] == 300.0


def test_an_ingress_waits_as_long_as_its_slowest_entity(paper: Paper) -> None:
    own = ServedEntity(name="own", source="/models/chat", task="llm/v1/chat", timeout=5.0)
    assert roll_out(paper, settled(endpoint(own, proxy(timeout=300.0)))) == []
    assert paper.apps["lac.chat"]["deployments"][0]["graceful_shutdown_timeout_s"] == 300.0


ON_GPU: dict[str, dict[str, Any]] = {
    "more replicas": {"min_replicas": 2},
    "scaling": {"min_replicas": 2, "max_replicas": 5, "max_ongoing_requests": 7},
    "scaling to zero": {"max_replicas": 2, "scale_to_zero_enabled": True},
    "a part of a GPU": {"num_gpus": 0.5},
    "several GPUs": {"num_gpus": 4, "timeout": 5.0, "workload_size": "Small"},
    "another model": {"source": "hf://acme/llama@v2"},
    "variables": {"environment_vars": {"A": "b"}, "num_cpus": 0.5, "max_queued_requests": -1},
    "on CPU": {"num_gpus": 0},
}


@pytest.mark.filterwarnings("ignore")
def test_a_language_model_on_gpus_reads_back_as_it_was_meant_after_every_change(paper: Paper) -> None:
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
    from ray.serve.schema import ServeDeploySchema

    options = {"name": "own", "source": "/models/chat", "task": "llm/v1/chat", "num_gpus": 1}
    for change in ({}, *ON_GPU.values(), {}):
        spec = settled(endpoint(ServedEntity.model_validate({**options, **change}), proxy("b")))
        assert roll_out(paper, spec) == []
        assert diff(live(paper).spec, spec) == ()  # type: ignore[union-attr]  # None fails the test as well
        ServeDeploySchema.model_validate({"applications": [*paper.apps.values()]})
        for app in paper.apps.values():
            if llm := app["args"].get("llm"):
                LLMConfig.model_validate(llm)
    (engine,) = (app["deployments"][1] for name, app in paper.apps.items() if name != "lac.chat")
    engine["num_replicas"] = 9
    found = live(paper)
    assert found
    assert {d.path[-1] for d in diff(found.spec, spec)} >= {"max_replicas"}


def test_only_a_version_that_exists_can_be_unfit_for_gpus() -> None:
    entity = ServedEntity(name="own", entity_name="llama", entity_version=7, task="llm/v1/chat", num_gpus=1)
    (result,) = settle(endpoint(entity))
    assert isinstance(result, ServingEndpoint), result
    elsewhere = ModelVersion(model="llama", version=7, source="dbfs:/models/llama")
    expected = {elsewhere.address: Observed(elsewhere)}
    ((_, problem),) = KIND.settle(SITE, {ADDRESS: endpoint(entity)}, expected)
    assert isinstance(problem, Diagnostic)
    assert problem.code == "unfit-for-gpu"
    assert problem.detail.endswith(
        "it reads hf://, paths on the nodes, and s3://, gs://, abfss://, azure://."
    )


def test_a_secret_without_a_source_is_an_error_that_says_where_to_add_it() -> None:
    (problem,) = settle(endpoint(proxy()), Site("tests"))
    assert isinstance(problem, Diagnostic)
    assert problem.code == "unknown-secret"
    assert "`small` names `{{secrets/openai/key}}`" in problem.detail
    assert "secrets: {openai: {key: {env: NAME}}}" in problem.hint


def test_what_needs_a_store_says_so() -> None:
    limits = {"rate_limits": ({"calls": 1, "renewal_period": "minute"},)}
    site = Site("tests", secrets=SOURCES)
    cases = [
        (endpoint(proxy(), ai_gateway={"usage_tracking_config": {"enabled": True}}), "no-usage-store"),
        (endpoint(proxy(min_replicas=3), ai_gateway=limits), "no-rate-limit-store"),
        (endpoint(proxy(max_replicas=3), ai_gateway=limits), "no-rate-limit-store"),
    ]
    for spec, code in cases:
        (problem,) = settle(spec, site)
        assert isinstance(problem, Diagnostic)
        assert problem.code == code
    assert isinstance(settle(endpoint(proxy(), ai_gateway=limits), site)[0], ServingEndpoint)


def test_a_plan_says_which_limits_get_tighter() -> None:
    def gateway(*limits: tuple[int, str, str | None]) -> dict[str, Any]:
        rows = [{"calls": c, "key": k, "principal": p, "renewal_period": "minute"} for c, k, p in limits]
        return {"rate_limits": tuple(rows)}

    before = settled(
        endpoint(proxy(), auth="basic", ai_gateway=gateway((100, "endpoint", None), (10, "user", "ann")))
    )
    after = settled(
        endpoint(
            proxy(),
            auth="basic",
            ai_gateway=gateway((2000, "endpoint", None), (5, "user", "ann"), (7, "user_group", "interns")),
        )
    )
    change = Change(ADDRESS, KIND.spec.store, Action.UPDATE, "", before, after)
    world = PlanContext({ADDRESS: after}, Recorded(), Live(), {ADDRESS: change}, {})
    (warning,) = [d for d in KIND.check(world) if d.code == "tighter-limits"]
    assert (
        "calls per minute of user ann: 10 → 5; calls per minute of role interns: no limit → 7."
        in warning.detail
    )
    back = Change(ADDRESS, KIND.spec.store, Action.UPDATE, "", after, before)
    world = PlanContext({ADDRESS: before}, Recorded(), Live(), {ADDRESS: back}, {})
    (warning,) = [d for d in KIND.check(world) if d.code == "tighter-limits"]
    assert "all callers: 2,000 → 100" in warning.detail
    assert "interns" not in warning.detail


ISSUERS = {name: {"oidc": {"issuer": f"https://{name}.example", "audience": "chat"}} for name in ("a", "b")}


@pytest.mark.parametrize(
    ("before", "after", "effects"),
    [
        ("basic", {"grace": 5.0}, ""),
        ("basic", "none", ""),
        ("none", "basic", "everyone without a grant loses access."),
        (
            "basic",
            ISSUERS["a"],
            "tokens of https://a.example for chat, with users by `email`, count from now on.",
        ),
        (
            ISSUERS["a"],
            "basic",
            "tokens of https://a.example for chat, with users by `email`, no longer count.",
        ),
        (
            ISSUERS["a"],
            ISSUERS["b"],
            "tokens of https://a.example for chat, with users by `email`, no longer count; "
            "tokens of https://b.example for chat, with users by `email`, count from now on.",
        ),
    ],
)
def test_a_plan_says_who_gets_in_by_another_sort_of_access(before: Any, after: Any, effects: str) -> None:
    sides = [settled(endpoint(proxy(), auth=auth)) for auth in (before, after)]
    change = Change(ADDRESS, KIND.spec.store, Action.UPDATE, "", *sides)
    world = PlanContext({ADDRESS: sides[1]}, Recorded(), Live(), {ADDRESS: change}, {})
    warnings = {d.code: d.detail for d in KIND.check(world)}
    assert warnings.get("access-changes", "").removeprefix(f"{ADDRESS}: ") == effects
    assert ("open-endpoint" in warnings) == (after == "none")


def test_a_plan_warns_of_limits_of_users_and_roles_that_do_not_exist() -> None:
    keys = ("user", "ann"), ("service_principal", "bot"), ("user_group", "analyst"), ("user_group", "new")
    rows = [{"calls": 1, "key": key, "principal": who, "renewal_period": "day"} for key, who in keys]
    spec = settled(endpoint(proxy(), auth="basic", ai_gateway={"rate_limits": tuple(rows)}))
    role = Role(name="new")
    changes = [
        Change(ADDRESS, KIND.spec.store, Action.CREATE, "", None, spec),
        Change(role.address, role.store, Action.CREATE, "", None, role),
    ]
    known = Role(name="analysts")
    live = Live({known.address: Observed(known)}, frozenset({Address("user", ("ann",))}))
    world = PlanContext({ADDRESS: spec}, Recorded(), live, {c.address: c for c in changes}, {})
    found = [
        (d.detail.rpartition(" has ")[2], d.hint) for d in KIND.check(world) if d.code == "limits-nobody"
    ]
    assert found == [("no user `bot`.", "known: ann"), ("no role `analyst`.", "did you mean `analysts`?")]


def test_a_saved_plan_may_hold_whatever_is_served() -> None:
    """A value that will be written must be one that a manifest may have."""
    own: dict[str, Any] = {"source": "/models/chat", "task": "llm/v1/chat"}
    sleeper = ServedEntity(name="sleeper", scale_to_zero_enabled=True, max_replicas=2, **own)
    gpu = ServedEntity(name="gpu", num_gpus=1.0, workload_size="Small", **own)
    spec = settled(endpoint(sleeper, gpu, proxy(min_replicas=2), proxy("b"), ai_gateway=GATEWAY, auth=AUTH))
    assert ServingEndpoint.model_validate(plain(spec), strict=False) == spec
    change = Change(ADDRESS, KIND.spec.store, Action.CREATE, "declared", None, spec)
    plan = Plan("tests", "", (change,), build_steps((change,)))
    origin = Origin("default", {}, "sha256:00", "2026-11-24T10:00:00+00:00", Actor("ann", "laptop"), "1.1")
    (again,) = load(dump(plan, origin), {spec.kind: ServingEndpoint}).plan.changes
    assert again.after == spec
