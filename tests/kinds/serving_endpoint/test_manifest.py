"""Endpoints in manifests: what the reader says of a wrong one, and where. No error repeats a secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.manifests import Files, Read

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.manifest.load import Manifest, load
from lifecycle_as_code.manifest.write import write
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError
from lifecycle_as_code.model.diff import diff, list_leaves

Errors = Callable[..., tuple[Diagnostic, ...]]
SPECS = {name: kind.spec for name, kind in KINDS.items()}


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load a stack with these files."""

    def read(files: Files) -> Manifest:
        for name, text in {"lac.yaml": "name: tests\n", **files}.items():
            (tmp_path / name).write_text(text)
        manifest = load(tmp_path, SPECS, environ={}, checks=[])
        for name in files:
            (tmp_path / name).unlink()
        return manifest

    return read


@pytest.fixture
def errors(read: Read) -> Errors:
    """The errors that files like these lead to."""

    def errors(files: Files) -> tuple[Diagnostic, ...]:
        with pytest.raises(LacError) as caught:
            read(files)
        return caught.value.diagnostics

    return errors


KEY = 'openai_api_key: "{{secrets/openai/key}}"'


def endpoint(*lines: str) -> str:
    """An endpoint with a model at a provider, and further fields."""
    model = f"{{name: m, task: llm/v1/chat, provider: openai, openai_config: {{{KEY}}}}}"
    return "\n".join(
        [
            "serving_endpoints:",
            "  - name: e",
            "    served_entities:",
            f"      - {{name: a, external_model: {model}}}",
            *(f"    {line}" for line in lines),
        ]
    )


def custom(fields: str, *lines: str) -> str:
    """An endpoint with a registered model, with these fields of the entity."""
    entity = f"      - {{name: a, entity_name: m, {fields}}}"
    return "\n".join(["serving_endpoints:", "  - name: e", "    served_entities:", entity, *lines])


def provider(name: str, config: str) -> str:
    """An endpoint with a model at this provider."""
    return endpoint().replace("openai, openai_config", f"{name}, {config}_config").replace(f"{{{KEY}}}", "{}")


def config(text: str, name: str = "openai") -> str:
    """An endpoint with these settings of its provider."""
    return provider(name, name.replace("custom", "custom_provider")).replace("{}", f"{{{text}}}")


FROM_DATABRICKS = {
    "config": (endpoint("config: {}"), "`served_entities`, right below the endpoint"),
    "served models": (endpoint("served_models: []"), "use `served_entities`"),
    "rate limits of the endpoint": (endpoint("rate_limits: []"), "below `ai_gateway`"),
    "payload logging": (endpoint("auto_capture_config: {}"), "`ai_gateway: {inference_table_config"),
    "route optimization": (endpoint("route_optimized: true"), "remove it"),
    "a budget": (endpoint("budget_policy_id: b"), "remove it"),
    "a catalog": (
        endpoint("ai_gateway: {inference_table_config: {catalog_name: c}}"),
        "`usage_store` in lac.yaml",
    ),
    "safety": (endpoint("ai_gateway: {guardrails: {input: {safety: true}}}"), "use `pii`"),
    "topics": (endpoint("ai_gateway: {guardrails: {output: {valid_topics: [a]}}}"), "use `pii`"),
    "a GPU's name": (custom("entity_version: 1, workload_type: GPU_SMALL"), "`num_gpus`"),
    "concurrency": (custom("entity_version: 1, min_provisioned_concurrency: 4"), "`min_replicas`"),
    "throughput": (custom("entity_version: 1, max_provisioned_throughput: 4"), "`max_replicas`"),
    "an instance profile": (custom("entity_version: 1, instance_profile_arn: a"), "remove it"),
    "a former model name": (custom("entity_version: 1, model_name: m"), "use `entity_name`"),
    "tags in a list": (endpoint("tags: [{key: a, value: b}]"), "write it as `{key: value}`"),
    "PaLM": (provider("palm", "openai"), "google-cloud-vertex-ai"),
    "PaLM's settings": (provider("openai", "palm"), "google-cloud-vertex-ai"),
    "AI21": (provider("ai21labs", "openai"), "`bedrock_provider: ai21labs`"),
    "a key in clear": (
        config(f"{KEY}, openai_api_key_plaintext: sk-canary"),
        '`openai_api_key: "{{secrets/scope/key}}"`',
    ),
    "another key in clear": (
        config("custom_provider_url: 'https://h', bearer_token_auth: {token_plaintext: sk-canary}", "custom"),
        '`token: "{{secrets/scope/key}}"`',
    ),
}


@pytest.mark.parametrize(("text", "hint"), FROM_DATABRICKS.values(), ids=FROM_DATABRICKS)
def test_what_databricks_has_and_lac_has_not_comes_with_a_way_out(
    text: str, hint: str, errors: Errors
) -> None:
    problems = errors({"m.yaml": text})
    assert hint in " ".join(problem.hint for problem in problems)
    assert "canary" not in str(problems)


@pytest.mark.parametrize(
    "written", ["12345678", "1e999", "[sk-canary]", "sk-canary", "0x5ec4e7", "2024-01-01"]
)
@pytest.mark.parametrize(
    "text",
    [
        config("openai_api_key: KEY"),
        config("custom_provider_url: 'https://h', bearer_token_auth: {token: KEY}", "custom"),
        config("custom_provider_url: 'https://h', api_key_auth: {key: K, value: KEY}", "custom"),
        config(f"{KEY}, openai_api_base: KEY"),
    ],
    ids=["optional", "required", "nested", "address"],
)
def test_no_error_repeats_a_key_whatever_it_looks_like(text: str, written: str, errors: Errors) -> None:
    problems = errors({"m.yaml": text.replace("KEY", written).replace("{{secrets/openai/key}}", "x")})
    assert problems
    assert written.strip("[]") not in str([(p.detail, p.hint) for p in problems])


@pytest.mark.parametrize(
    "text",
    [
        endpoint('description: "{{secrets/openai/key}}"'),
        endpoint('tags: {a: "{{ secrets/openai/key }}"}'),
        config('openai_api_key: "sk-{{secrets/openai/key}}"'),
        config('openai_api_key: "{{- secrets/openai/key -}}"'),
        config('openai_api_key: "{{ secrets.openai.key }}"'),
        config('openai_api_key: "{{secrets/key}}"'),
        custom('entity_version: 1, environment_vars: {A: "Bearer {{secrets/openai/key}}"}'),
    ],
)
def test_a_secret_in_another_place_is_told_where_it_belongs(text: str, errors: Errors) -> None:
    (problem,) = errors({"m.yaml": text})
    assert problem.code == "secret-not-allowed"
    assert "the whole value" in problem.hint


def test_a_template_file_has_secrets_in_raw_text(errors: Errors, read: Read) -> None:
    (problem,) = errors({"m.yaml.j2": endpoint()})
    assert (problem.code, problem.at and problem.at.line) == ("secret-not-allowed", 4)
    assert "{% raw %}" in problem.hint
    raw = endpoint().replace("{{s", "{% raw %}{{s").replace("key}}", "key}}{% endraw %}")
    assert read({"m.yaml.j2": raw}).desired.objects == read({"m.yaml": endpoint()}).desired.objects


ONCE: dict[str, tuple[str, str]] = {
    "no audience": (endpoint("auth: {oidc: {issuer: 'https://h'}}"), "An oidc needs `audience`."),
    "an empty audience": (
        endpoint("auth: {oidc: {issuer: 'https://h', audience: ''}}"),
        "`auth.oidc.audience`: `` should have at least 1 character.",
    ),
    "HTTP": (
        endpoint("auth: {oidc: {issuer: 'http://h', audience: a}}"),
        "`auth.oidc.issuer`: it must begin with https://.",
    ),
    "less than no grace": (
        endpoint("auth: {grace: -1}"),
        "`auth.grace`: `-1` should be greater than or equal to 0.",
    ),
    "nothing": (endpoint("auth:"), "`auth` is empty; expected one of `basic`, `none`."),
    "a word for a list's item": (
        endpoint("ai_gateway: {guardrails: {input: {invalid_keywords: [no]}}}"),
        "`item 1`: `no` is a value that YAML parsers read differently; expected text.",
    ),
    "a limit on two things": (
        endpoint("ai_gateway: {rate_limits: [{calls: 1, tokens: 1, renewal_period: day}]}"),
        "This item: a rate limit has either `calls` or `tokens`.",
    ),
    "a version in quotes": (
        custom("entity_version: '3'"),
        "`entity_version`: a version is a number or `@` and an alias; remove the quotes.",
    ),
}


@pytest.mark.parametrize(("text", "detail"), ONCE.values(), ids=ONCE)
def test_one_mistake_is_one_error(text: str, detail: str, errors: Errors) -> None:
    assert [problem.detail for problem in errors({"m.yaml": text})] == [detail]


def limits(*rows: str, auth: str = "basic") -> str:
    """An endpoint with these rate limits."""
    return endpoint(f"auth: {auth}", f"ai_gateway: {{rate_limits: [{', '.join(rows)}]}}")


def guard(text: str) -> str:
    """An endpoint with these guardrails for requests."""
    return endpoint(f"ai_gateway: {{guardrails: {{input: {{{text}}}}}}}")


WITHOUT_MEANING: dict[str, tuple[str, str]] = {
    "a principal without a name": (
        limits("{calls: 1, key: user, principal: '', renewal_period: day}"),
        "at least 1 character",
    ),
    "a principal where nobody signs in": (
        limits("{calls: 1, key: user_group, principal: a, renewal_period: day}", auth="none"),
        "`auth: none` asks for none",
    ),
    "two limits of one user": (
        limits(
            "{calls: 1, key: user, principal: a, renewal_period: day}",
            "{calls: 2, key: service_principal, principal: a, renewal_period: day}",
        ),
        "two rate limits count calls per day of user a",
    ),
    "tokens of a model without texts": (
        custom("entity_version: 1", "    ai_gateway: {rate_limits: [{tokens: 1, renewal_period: day}]}"),
        "for language models",
    ),
    "a blank keyword": (guard("invalid_keywords: [' ']"), "an item is blank"),
    "two patterns of one name": (
        guard("patterns: [{name: a, regex: x}, {name: a, regex: b}]"),
        "pattern `a` is listed twice",
    ),
    "texts of embeddings": (
        endpoint("ai_gateway: {guardrails: {output: {pii: {behavior: MASK}}}}").replace("chat", "embeddings"),
        "answers of `llm/v1/embeddings` have none",
    ),
    "a least number where none may run": (
        custom("entity_version: 1, scale_to_zero_enabled: true, min_replicas: 2, max_replicas: 3"),
        "exclude each other",
    ),
    "no replicas that never wake": (
        custom("entity_version: 1, min_replicas: 0"),
        "`min_replicas: 0` needs `scale_to_zero_enabled: true`",
    ),
    "retries of a custom model": (
        custom("entity_version: 1, max_retries: 5"),
        "`max_retries` is for `external_model` alone",
    ),
    "Azure's settings for OpenAI": (
        config(f"{KEY}, openai_deployment_name: d"),
        "`openai_deployment_name` has no meaning for `openai_api_type: openai`",
    ),
    "a model of nobody's": (
        "serving_endpoints: [{name: e, served_entities: [{name: a, source: 'hf://', task: llm/v1/chat}]}]",
        "`hf://<organization>/<model>`",
    ),
    "a name that nobody looks up": (
        endpoint().replace("name: m", "name: '{{ env.MODEL }}'"),
        "a model's name can't be a reference",
    ),
    "a header of two lines": (
        config(
            r'custom_provider_url: "https://h", api_key_auth: {key: "A\nB", value: "{{ env.K }}"}', "custom"
        ),
        "not a header's name",
    ),
    "an address without a host": (config(f"{KEY}, openai_api_base: 'https://'"), "and a host"),
    "an address with a space": (config(f"{KEY}, openai_api_base: 'https://a b'"), "and a host"),
    "an address with a password": (
        config(f"{KEY}, openai_api_base: 'https://u:canary@h/v1'"),
        "has no user, query or fragment; write one that has as a reference",
    ),
    "an address with a key": (
        config(f"{KEY}, openai_api_base: 'https://h/v1?key=canary'"),
        "has no user, query or fragment; write one that has as a reference",
    ),
}


@pytest.mark.parametrize(("text", "detail"), WITHOUT_MEANING.values(), ids=WITHOUT_MEANING)
def test_what_would_have_no_effect_or_show_a_secret_is_refused(
    text: str, detail: str, errors: Errors
) -> None:
    (problem,) = errors({"m.yaml": text})
    assert problem.code == "bad-value"
    assert detail in problem.detail
    assert "canary" not in str((problem.detail, problem.hint))


def test_the_order_of_limits_keywords_and_columns_means_nothing(read: Read) -> None:
    def written(reverse: bool) -> Any:
        def rows(*items: str) -> str:
            return f"[{', '.join(reversed(items) if reverse else items)}]"

        gateway = (
            f"rate_limits: {rows('{calls: 1, renewal_period: day}', '{tokens: 9, renewal_period: day}')}, "
            f"guardrails: {{input: {{invalid_keywords: {rows('b', 'a', 'b')}}}}}, "
            f"inference_table_config: {{enabled: true, exclude_columns: {rows('c', 'd')}}}"
        )
        (spec,) = read({"m.yaml": endpoint(f"ai_gateway: {{{gateway}}}")}).desired.objects.values()
        return spec

    assert diff(written(True), written(False)) == ()
    leaves = {leaf.name: leaf.after for leaf in list_leaves(written(True))}
    assert leaves["ai_gateway.rate_limits.calls per day of all callers.calls"] == 1
    assert leaves["ai_gateway.guardrails.input.invalid_keywords"] == ("a", "b")


def test_what_is_written_declares_the_same_with_its_references_as_they_are(read: Read) -> None:
    text = endpoint(
        "auth: {oidc: {issuer: 'https://h', audience: a}, grace: 5}",
        "description: a {{ '{{' }}secrets/a/b}}",
        "ai_gateway: {rate_limits: [{tokens: 1, key: user, principal: a, renewal_period: day}]}",
    )
    text += custom("entity_version: 1, environment_vars: {A: '{{ env.A }}'}").replace(
        "serving_endpoints:", ""
    )
    text = text.replace("name: e\n", "name: f\n", 1)
    objects = read({"m.yaml": text}).desired.objects
    again = write(list(objects.values()), SPECS)
    assert 'openai_api_key: "{{secrets/openai/key}}"' in again
    assert 'A: "{{ env.A }}"' in again
    assert read({"m.yaml": again}).desired.objects == objects
