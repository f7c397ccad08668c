"""A model at a provider, as a manifest declares it. Field names are those of Databricks' `external_model`;
addresses for which that has no field are lac's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from ...model.spec import Part, Sensitive
from ...serving.llm import Task
from ...serving.references import is_reference

Provider = Literal[
    "openai",
    "anthropic",
    "amazon-bedrock",
    "cohere",
    "google-cloud-vertex-ai",
    "databricks-model-serving",
    "custom",
]


def _secret(text: str) -> str:
    """No message repeats the value."""
    if not is_reference(text):
        raise ValueError("a key must be a reference: `{{secrets/scope/key}}` or `{{ env.NAME }}`")
    return text


def _address(text: str) -> str:
    """No message repeats the value: plans, records and Ray's config would show a password in it."""
    if is_reference(text):
        return text
    try:
        parts = urlsplit(text)
        # the port raises for no number
        fits = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or any(char.isspace() for char in text):
        raise ValueError("an address begins with `https://` or `http://` and a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            "an address in a manifest has no user, query or fragment; write one that has as a reference: "
            "`{{secrets/scope/key}}` or `{{ env.NAME }}`"
        )
    return text


def _header(text: str) -> str:
    if not (_HEADER.fullmatch(text) or is_reference(text)):
        raise ValueError("not a header's name, such as `X-API-Key`")
    return text


def _model(text: str) -> str:
    if is_reference(text):
        raise ValueError("a model's name can't be a reference: plans and usage show it")
    return text


_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Secret = Annotated[
    str,
    AfterValidator(_secret),
    Sensitive(),
    WithJsonSchema({"type": "string", "pattern": r"^\{\{.*\}\}$"}),
]
"""A reference to a secret, as a whole; the node that answers looks it up."""
Url = Annotated[str, AfterValidator(_address), Sensitive()]
"""An HTTP address; of loopback and private networks too."""
Word = Annotated[str, Field(min_length=1)]
"""A text that isn't empty."""


class OpenaiConfig(Part):
    """OpenAI, or Azure's OpenAI with `openai_api_type: azure` or `azuread`."""

    openai_api_key: Secret | None = None
    """The key; for `azure` the resource's."""
    openai_api_type: Literal["openai", "azure", "azuread"] = "openai"
    """`azure`: Azure by key. `azuread`: Azure by Microsoft Entra."""
    openai_api_base: Url | None = None
    """The API's address. Required for Azure: `https://<resource>.openai.azure.com`."""
    openai_api_version: Word | None = None
    """Azure's API version, a date. Required for Azure."""
    openai_deployment_name: Word | None = None
    """Azure's deployment. Required for Azure."""
    openai_organization: Word | None = None
    """OpenAI's organization."""
    microsoft_entra_tenant_id: Word | None = None
    """For `azuread`: the tenant."""
    microsoft_entra_client_id: Word | None = None
    """For `azuread`: the application."""
    microsoft_entra_client_secret: Secret | None = None
    """For `azuread`: the application's secret."""
    microsoft_entra_login_base: Url | None = None
    """For `azuread`: the sign-in service; Microsoft's by default."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {
            "openai": ("openai_api_key",),
            "azure": ("openai_api_key", *_AZURE),
            "azuread": (*_ENTRA, *_AZURE),
        }[self.openai_api_type]
        if missing := [name for name in needs if getattr(self, name) is None]:
            raise ValueError(f"`openai_api_type: {self.openai_api_type}` needs `{missing[0]}`")
        others = {
            "openai": (*_AZURE[1:], *_ENTRA, "microsoft_entra_login_base"),
            "azure": (*_ENTRA, "microsoft_entra_login_base"),
            "azuread": ("openai_api_key",),
        }[self.openai_api_type]
        if spare := [name for name in others if getattr(self, name) is not None]:
            raise ValueError(f"`{spare[0]}` has no meaning for `openai_api_type: {self.openai_api_type}`")
        return self


_AZURE: Final = ("openai_api_base", "openai_api_version", "openai_deployment_name")
_ENTRA: Final = (
    "microsoft_entra_tenant_id",
    "microsoft_entra_client_id",
    "microsoft_entra_client_secret",
)


class AnthropicConfig(Part):
    """Anthropic."""

    anthropic_api_key: Secret
    """The key."""
    anthropic_api_base: Url | None = None
    """The API's address, if it isn't Anthropic's own."""


class AmazonBedrockConfig(Part):
    """Amazon Bedrock. Without keys: the node's own AWS credentials."""

    way_outs: ClassVar[Mapping[str, str]] = {
        "instance_profile_arn": "remove it: without keys, a node's own AWS credentials count"
    }

    aws_region: Word
    """The region."""
    bedrock_provider: Literal["anthropic", "cohere", "ai21labs", "amazon"]
    """The maker of the model."""
    aws_access_key_id: Secret | None = None
    """The access key's ID."""
    aws_secret_access_key: Secret | None = None
    """The access key."""
    aws_endpoint_url: Url | None = None
    """The API's address, such as that of a VPC endpoint."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ValueError("`aws_access_key_id` and `aws_secret_access_key` go together")
        return self


class CohereConfig(Part):
    """Cohere."""

    cohere_api_key: Secret
    """The key."""
    cohere_api_base: Url | None = None
    """The API's address, if it isn't Cohere's own."""


class GoogleCloudVertexAiConfig(Part):
    """Google Cloud's Vertex AI."""

    project_id: Word
    """The project."""
    region: Word
    """The region."""
    private_key: Secret
    """A service account's key: the JSON file's content."""
    vertex_ai_api_base: Url | None = None
    """The API's address, if it isn't the region's own."""


class DatabricksModelServingConfig(Part):
    """An endpoint of Databricks' model serving; `external_model.name` is the endpoint's."""

    databricks_workspace_url: Url
    """The workspace's address."""
    databricks_api_token: Secret
    """The token."""


class ApiKeyAuth(Part):
    """A key in a header."""

    key: Annotated[str, AfterValidator(_header)]
    """The header's name, such as `X-API-Key`."""
    value: Secret
    """The header's value."""


class BearerTokenAuth(Part):
    """A bearer token."""

    token: Secret
    """The token."""


class CustomProviderConfig(Part):
    """Any API in OpenAI's shape, such as vLLM, Ollama or an LLM gateway."""

    custom_provider_url: Url
    """The API's address, including its version: `https://llm.example/v1`."""
    api_key_auth: ApiKeyAuth | None = None
    """A key in a header."""
    bearer_token_auth: BearerTokenAuth | None = None
    """A bearer token."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.api_key_auth and self.bearer_token_auth:
            raise ValueError("`api_key_auth` and `bearer_token_auth` exclude each other")
        return self


_CONFIGS: Final[Mapping[str, str]] = {
    "openai": "openai_config",
    "anthropic": "anthropic_config",
    "amazon-bedrock": "amazon_bedrock_config",
    "cohere": "cohere_config",
    "google-cloud-vertex-ai": "google_cloud_vertex_ai_config",
    "databricks-model-serving": "databricks_model_serving_config",
    "custom": "custom_provider_config",
}
"""The field with a provider's settings."""


class ExternalModel(Part):
    """A model that a provider runs. Needs the settings of its provider."""

    way_outs: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("provider: palm", "palm_config"),
            "Google has shut PaLM down: use `provider: google-cloud-vertex-ai`",
        ),
        **dict.fromkeys(
            ("provider: ai21labs", "ai21labs_config"),
            "use `custom` with AI21's address, or `amazon-bedrock` with `bedrock_provider: ai21labs`",
        ),
    }

    name: Annotated[Word, AfterValidator(_model)]
    """The provider's name of the model, such as `gpt-4o-mini`."""
    task: Task
    """What the model does: `llm/v1/chat`, `llm/v1/completions` or `llm/v1/embeddings`."""
    provider: Provider
    """Who runs it."""
    openai_config: OpenaiConfig | None = None
    """For `openai`."""
    anthropic_config: AnthropicConfig | None = None
    """For `anthropic`."""
    amazon_bedrock_config: AmazonBedrockConfig | None = None
    """For `amazon-bedrock`."""
    cohere_config: CohereConfig | None = None
    """For `cohere`."""
    google_cloud_vertex_ai_config: GoogleCloudVertexAiConfig | None = None
    """For `google-cloud-vertex-ai`."""
    databricks_model_serving_config: DatabricksModelServingConfig | None = None
    """For `databricks-model-serving`."""
    custom_provider_config: CustomProviderConfig | None = None
    """For `custom`."""

    @model_validator(mode="after")
    def _config(self) -> Self:
        needed = _CONFIGS[self.provider]
        if getattr(self, needed) is None:
            raise ValueError(f"`provider: {self.provider}` needs `{needed}`")
        for name in _CONFIGS.values():
            if name != needed and getattr(self, name) is not None:
                raise ValueError(f"`{name}` doesn't belong to `provider: {self.provider}`")
        if self.task == "llm/v1/embeddings" and not self._embeds():
            raise ValueError(f"`provider: {self.provider}` has no embeddings for `{self.name}`")
        return self

    def _embeds(self) -> bool:
        """Whether the provider makes embeddings by such models."""
        match self.provider:
            case "anthropic":
                return False
            case "amazon-bedrock":
                config = self.amazon_bedrock_config
                return config is not None and config.bedrock_provider in ("amazon", "cohere")
            case "google-cloud-vertex-ai":
                return not self.name.startswith("claude")
        return True

    def written(self) -> dict[str, Any]:
        """As a manifest would have it, which is also how the endpoint's replicas read it."""
        return _without_nothing(self.model_dump(warnings="none", exclude_none=True))

    def values(self) -> Iterator[str]:
        """Every text in it, references among them."""
        yield from _texts(self.written())


def _without_nothing(data: dict[str, Any]) -> dict[str, Any]:
    """Without the defaults that say nothing."""
    config = data.get("openai_config")
    if isinstance(config, dict) and config.get("openai_api_type") == "openai":
        del config["openai_api_type"]
    return data


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, str):
        yield data
