"""What an endpoint does with every request beside answering it: limits, guardrails, usage and fallback. Field
names are those of Databricks' `ai_gateway`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ...model.spec import ByKey, Part, Unordered
from ...serving.detection import validate_pattern

Behavior = Literal["NONE", "BLOCK", "MASK"]


def _sort_texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Without order and repetition, which mean nothing."""
    if any(not text.strip() for text in texts):
        raise ValueError("an item is blank")
    return tuple(sorted({*texts}))


Texts = Annotated[tuple[str, ...], AfterValidator(_sort_texts), Unordered()]
"""Texts in any order."""


class RateLimit(Part):
    """How many calls or tokens an endpoint, or each of its callers, has in a period."""

    calls: Annotated[int, Field(ge=0)] | None = None
    """Requests in a period. 0: none at all."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens of prompts and answers in a period. Requests that are being answered when they run out are
    finished."""
    key: Literal["endpoint", "user", "user_group", "service_principal"] = "endpoint"
    """What is counted: all requests; those of each user, or of the user `principal`; of the MLflow role
    `principal`; or of the service `principal`, a user like any other to MLflow."""
    principal: Annotated[str, Field(min_length=1)] | None = None
    """The user, role or service. A user's own limit replaces the one for each user."""
    renewal_period: Literal["minute", "hour", "day"]
    """The period, which begins with its first request."""

    @model_validator(mode="after")
    def _sort(self) -> Self:
        if (self.calls is None) == (self.tokens is None):
            raise ValueError("a rate limit has either `calls` or `tokens`")
        if self.key == "endpoint" and self.principal is not None:
            raise ValueError("`key: endpoint` counts everyone, and has no `principal`")
        if self.key in ("user_group", "service_principal") and not self.principal:
            raise ValueError(f"`key: {self.key}` needs `principal`")
        return self

    @property
    def subject(self) -> str:
        """What it counts, in words: `calls per minute of each user`. Two limits of one subject contradict
        each other."""
        match self.key:
            case "endpoint":
                whose = "of all callers"
            case "user" if self.principal is None:
                whose = "of each user"
            case "user_group":
                whose = f"of role {self.principal}"
            case _:
                whose = f"of user {self.principal}"
        return f"{self.unit} per {self.renewal_period} {whose}"

    @property
    def unit(self) -> Literal["calls", "tokens"]:
        """What it limits."""
        return "calls" if self.calls is not None else "tokens"

    @property
    def amount(self) -> int:
        """How many of them."""
        return (self.calls if self.calls is not None else self.tokens) or 0


class Pii(Part):
    """Personal data in a text: e-mail addresses, phone numbers, card numbers, IBANs and the like."""

    behavior: Behavior = "NONE"
    """`BLOCK` refuses the text, `MASK` replaces the data by its sort, such as `<EMAIL>`."""


def _expression(text: str) -> str:
    if problem := validate_pattern(text):
        raise ValueError(problem)
    return text


class Pattern(Part):
    """A regular expression, in RE2's syntax: no look-around, no back-references."""

    name: Annotated[str, Field(min_length=1)]
    """A name for callers, counts and logs: what matched is repeated nowhere."""
    regex: Annotated[str, AfterValidator(_expression)]
    """The expression."""
    behavior: Literal["BLOCK", "MASK"] = "BLOCK"
    """`BLOCK` refuses the text, `MASK` replaces the match by `<name>`."""
    max_length: Annotated[int, Field(ge=1, le=4096)] = 128
    """Bytes of the longest match: what a stream may hold back."""


class Guard(Part):
    """Rules for the texts in one direction."""

    pii: Pii | None = None
    """Personal data."""
    invalid_keywords: Texts = ()
    """Words that block a text, whatever their case."""
    patterns: Annotated[tuple[Pattern, ...], ByKey("name")] = ()
    """Regular expressions that block a text or are masked in it. lac's own field."""

    way_outs: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("safety", "valid_topics"),
        "remove it: no model judges the texts here; use `pii`, `invalid_keywords` and `patterns`",
    )

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name, count in Counter(pattern.name for pattern in self.patterns).items():
            if count > 1:
                raise ValueError(f"pattern `{name}` is listed twice")
        return self


class Guardrails(Part):
    """Rules for texts that language models read and write."""

    input: Guard | None = None
    """For requests. What is blocked doesn't reach the model."""
    output: Guard | None = None
    """For answers, streams included."""


class UsageTrackingConfig(Part):
    """A row for each request: time, user, entity, version, status, latency, rows or tokens."""

    enabled: bool = False
    """Whether rows are written, to `usage_store` in lac.yaml. `lac usage` reads them."""


class InferenceTableConfig(Part):
    """Requests and answers themselves, in `usage_store` of lac.yaml."""

    way_outs: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("catalog_name", "schema_name", "table_name_prefix"),
        "remove it: the rows go to `usage_store` in lac.yaml",
    )

    enabled: bool = False
    """Whether they are written."""
    sampling_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of requests that is written."""
    max_bytes: Annotated[int, Field(ge=1, le=16 * 1024 * 1024)] = 64 * 1024
    """The most bytes of a request and of an answer; longer ones are cut, and marked so."""
    exclude_columns: Texts = ()
    """Columns that are left out of requests."""


class FallbackConfig(Part):
    """Another entity's answer in place of an error."""

    enabled: bool = False
    """Whether a request that one served entity answers with 429 or 5xx goes on to the others, in their order
    in the manifest."""


class AiGateway(Part):
    """Limits, guardrails, records and fallback of an endpoint."""

    rate_limits: Annotated[
        tuple[RateLimit, ...],
        ByKey("subject", covers=("key", "principal", "renewal_period")),
        Field(max_length=20),
    ] = ()
    """How much callers may ask. All that match a request count; each refuses with 429."""
    rate_limit_failure_mode: Literal["open", "closed"] = "open"
    """While `rate_limit_store` is away: `open` lets requests through uncounted, `closed` answers 503.
    lac's own field."""
    guardrails: Guardrails | None = None
    """Rules for texts."""
    usage_tracking_config: UsageTrackingConfig | None = None
    """A row for each request."""
    inference_table_config: InferenceTableConfig | None = None
    """Requests and answers themselves."""
    fallback_config: FallbackConfig | None = None
    """Another entity's answer in place of an error."""

    @model_validator(mode="after")
    def _limits(self) -> Self:
        subjects: set[str] = set()
        for limit in self.rate_limits:
            if limit.subject in subjects:
                raise ValueError(f"two rate limits count {limit.subject}")
            subjects.add(limit.subject)
        return self

    @property
    def falls_back(self) -> bool:
        """Whether other entities answer in place of an error."""
        return self.fallback_config is not None and self.fallback_config.enabled

    @property
    def keeps_rows(self) -> bool:
        """Whether it writes anything to the usage store."""
        return any(
            part is not None and part.enabled
            for part in (self.usage_tracking_config, self.inference_table_config)
        )

    def written(self) -> dict[str, Any]:
        """As a manifest would have it."""
        return compact(self)


def compact(part: Part) -> dict[str, Any]:
    """A part as plain data, without what is as by default."""
    result = {}
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if not field.is_required() and value == field.default:
            continue
        if isinstance(value, Part):
            value = compact(value)
        elif isinstance(value, tuple):
            value = [compact(item) if isinstance(item, Part) else item for item in value]
        result[name] = value
    return result
