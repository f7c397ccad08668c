"""The fields of lac.yaml, and its settings for one environment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ..model.plan import Limits
from ..model.redaction import secret_shape, without_credentials
from ..model.spec import Part, Sensitive

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"

DEFAULT_PERMISSION: Final = "READ"
"""MLflow's own default (mlflow/server/auth/basic_auth.ini)."""


class ServeFile(Part):
    """A Ray cluster on other machines."""

    address: str
    """The address of its dashboard, `http://…` or `https://…`."""
    token: str | None = None
    """A bearer token for the dashboard: `"{{ env.NAME }}"`."""
    data_address: str | None = None
    """The address of the endpoints, if it differs from Ray's own (a proxy, a load balancer)."""
    runtime_env: Mapping[str, Any] = {}
    """Ray's runtime environment, passed through. In `env_vars`, `"{{ env.NAME }}"` is resolved on the
    cluster."""


class GuardsFile(Part):
    """How many objects of a kind one plan may delete: a number, or a share of the stack's objects of that
    kind, whichever is more."""

    max_deletions: Annotated[int, Field(ge=0)] = 10
    """The number of objects of a kind."""
    max_deletion_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    """The share of the objects of a kind, from 0 to 1."""


class DriftFile(Part):
    """Options of `lac drift`."""

    ignore: tuple[str, ...] = ()
    """Addresses or patterns to ignore; `*`, `?` and `[…]` are wildcards: `model_alias.*/shadow`."""


class EvidenceFile(Part):
    """Evidence about model versions in plans."""

    seconds: Annotated[float, Field(gt=0, le=3600)] = 20.0
    """How many seconds reading all models' files may take. Plans mark files of slower stores as not read."""


class LocalFile(Part):
    """Options of the Ray of `serve: local`. A change takes effect with `lac down` and `lac up`."""

    listen: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\[\]*-]+:[0-9]{1,5}$")] | None = None
    """Where other machines reach the endpoints, over TLS: an address and port, such as `0.0.0.0:8443`. By
    default no other machine does."""
    tls_cert: str | None = None
    """The certificate and its chain: a PEM file, relative to this file. Needed with `listen`."""
    tls_key: str | None = None
    """The certificate's key: a PEM file. Needed with `listen`."""
    metrics_port: Annotated[int, Field(ge=1024, le=65535)] | None = None
    """The port on 127.0.0.1 at which Prometheus finds metrics, without a token. By default there are none."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        names = ("listen", "tls_cert", "tls_key")
        missing = [name for name in names if getattr(self, name) is None]
        if 0 < len(missing) < len(names):
            raise ValueError(f"`listen`, `tls_cert` and `tls_key` go together; `{missing[0]}` is missing")
        return self


class SecretFile(Part):
    """Where a secret comes from on the nodes that use it: exactly one of the three."""

    way_outs: ClassVar[Mapping[str, str]] = {
        "value": "lac.yaml holds no secret: name the place where nodes find it, by `env`, `file` or `command`"
    }

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """A variable of the node's environment. A new value needs a new start of the node's Ray."""
    file: Annotated[str, Sensitive()] | None = None
    """A file on the node, by its absolute path; read again once a minute."""
    command: Annotated[tuple[str, ...], Sensitive()] | None = None
    """A command on the node and its arguments, without a shell, that prints the secret; run again once a
    minute while the secret is in use."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.source) != 1:
            raise ValueError("a secret has exactly one of `env`, `file` and `command`")
        if self.file is not None and not self.file.startswith("/"):
            raise ValueError("`file` is an absolute path")
        if self.command is not None and not all(self.command):
            raise ValueError("`command` has an empty word")
        if what := next(filter(None, map(secret_shape, self.command or ())), ""):
            # plans, records and Ray's config show it
            raise ValueError(f"`command` contains {what}; let it read the secret from a safe place")
        return self

    @property
    def source(self) -> dict[str, Any]:
        """As nodes read it."""
        values = {"env": self.env, "file": self.file, "command": self.command and list(self.command)}
        return {name: value for name, value in values.items() if value}


class EnvironmentFile(Part):
    """Settings that each environment may override."""

    store: str | None = None
    """MLflow's backend store: `sqlite:///<path>` (relative to this file) or `postgresql://…`."""
    auth_store: str | None = None
    """The database of MLflow's basic-auth app, for roles and permissions."""
    default_permission: Literal["READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS"] | None = None
    """The level of users without a grant: `default_permission` in the file that the MLflow server's
    `MLFLOW_AUTH_CONFIG_PATH` names. `READ` by default, as in MLflow. lac only reads it, to show who gains or
    loses access. Use `NO_PERMISSIONS` for a server with workspaces enabled and without
    `grant_default_workspace_access`."""
    usage_store: str | None = None
    """Where endpoints write their usage and payloads: `sqlite:///<path>` (relative to this file),
    `postgresql://…`, or `parquet:///<folder>`. By default `sqlite:///.lac/usage.db` with `serve: local`."""
    serve: str | ServeFile | None = None
    """Ray: `local` for this machine, the address of a cluster's dashboard, `none`, or a mapping."""
    local: LocalFile | None = None
    """Options of the Ray of `serve: local`: TLS and metrics."""
    workspace: str | None = None
    """MLflow's workspace; `default` by default."""
    secrets: Annotated[Mapping[str, Mapping[str, SecretFile]], Sensitive()] | None = None
    """Where endpoints' `{{secrets/scope/key}}` come from, by scope and key."""
    rate_limit_store: str | None = None
    """Where several replicas of an endpoint count requests together: `redis://…`, `sqlite:///<path>` or
    `postgresql://…`."""
    guards: GuardsFile | None = None
    """How much one plan may delete without `--allow`."""
    drift: DriftFile | None = None
    """Options of `lac drift`."""
    evidence: EvidenceFile | None = None
    """Evidence about model versions in plans."""
    variables: Mapping[str, Any] = {}
    """Values for `{{ var.… }}`. A variable with nothing after the colon has no default and must be set."""
    include: tuple[str, ...] | None = None
    """Patterns of manifests, relative to this file, such as `models/*.yaml` or `**/*.yaml`. By default all
    `*.yaml`, `*.yml` and `*.yaml.j2` below it, except `*.vars.yaml`, hidden directories and other stacks."""


class ProjectFile(EnvironmentFile):
    """`lac.yaml`: a stack, its files, its stores and its environments."""

    name: Annotated[str, Field(pattern=NAME)]
    """The stack's name, which marks the objects that it owns. Lower case letters, digits, `-` and `_`."""
    environments: Mapping[str, EnvironmentFile | None] = {}
    """Overrides by environment: `lac -e prod plan`."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An address that may contain a password, so its repr omits it. `reference`: the text if it is exactly
    one `{{ env.NAME }}`; the cluster gets that, never the `value`."""

    value: str = field(repr=False)
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Serve:
    """Where endpoints run. `local`: the stack's own Ray on this machine, without an address."""

    local: bool
    address: str = field(default="", repr=False)
    token: str | None = field(default=None, repr=False)
    data_address: str | None = None
    runtime_env: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def display_address(self) -> str:
        """The address without its user and password."""
        return "local" if self.local else without_credentials(self.address)


@dataclass(frozen=True, slots=True)
class Settings:
    """lac.yaml's settings for one environment, or for none. `directory` is absolute."""

    name: str
    directory: Path
    environment: str | None
    workspace: str
    store: Connection
    auth_store: Connection | None
    serve: Serve | None
    variables: Mapping[str, Any] = field(repr=False)
    limits: Limits = Limits()
    drift_ignore: tuple[str, ...] = ()
    evidence_seconds: float = 20.0
    local: LocalFile | None = None
    usage_store: Connection | None = None
    environments: frozenset[str] = frozenset()
    default_permission: str = DEFAULT_PERMISSION
    include: tuple[str, ...] = ()
    secrets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rate_limit_store: Connection | None = None
