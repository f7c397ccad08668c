"""What lac.yaml may say, and what becomes of it for one environment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from ..model.plan import Limits
from ..model.redaction import without_credentials
from ..model.spec import Part

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"

DEFAULT_PERMISSION: Final = "READ"
"""What MLflow ships (mlflow/server/auth/basic_auth.ini)."""


class ServeFile(Part):
    """A Ray cluster that isn't this machine's own."""

    address: str
    """The address of its dashboard, `http://…` or `https://…`."""
    token: str | None = None
    """A bearer token for the dashboard: `"{{ env.NAME }}"`."""
    data_address: str | None = None
    """Where endpoints answer, if Ray doesn't tell it right (a proxy, a load balancer)."""
    runtime_env: Mapping[str, Any] = {}
    """Ray's runtime environment, passed through. In `env_vars`, `"{{ env.NAME }}"` is resolved on the
    cluster."""


class GuardsFile(Part):
    """How many objects of a kind one plan may delete: so many, or that share of what the stack owns of the
    kind, whichever is more."""

    max_deletions: Annotated[int, Field(ge=0)] = 10
    """This many objects of a kind."""
    max_deletion_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    """This share of the objects of a kind, from 0 to 1."""


class DriftFile(Part):
    """What `lac drift` tells."""

    ignore: tuple[str, ...] = ()
    """Addresses that it passes over, in which `*`, `?` and `[…]` stand for others: `model_alias.*/shadow`."""


class EvidenceFile(Part):
    """What plans tell of model versions."""

    seconds: Annotated[float, Field(gt=0, le=3600)] = 20.0
    """How long the models' files may take to be read, all together. Those of stores that don't answer by then
    are told as not read."""


class EnvironmentFile(Part):
    """Settings, each of which an environment may have its own of."""

    store: str | None = None
    """MLflow's backend store: `sqlite:///<path>` (relative to this file) or `postgresql://…`."""
    auth_store: str | None = None
    """The database of MLflow's basic-auth, for roles and permissions."""
    default_permission: Literal["READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS"] | None = None
    """What MLflow's server gives to users without a grant: `default_permission` of the file that its
    `MLFLOW_AUTH_CONFIG_PATH` names, which no database holds. `READ`, as MLflow ships it, by default. Nothing
    is written for it: plans need it to tell who gains or loses access. For a server with workspaces enabled
    and without `grant_default_workspace_access`, whose users without a grant get nothing, say
    `NO_PERMISSIONS`."""
    serve: str | ServeFile | None = None
    """Ray: `local` for one on this machine, the address of a cluster's dashboard, `none`, or a mapping."""
    workspace: str | None = None
    """MLflow's workspace; `default` by default."""
    guards: GuardsFile | None = None
    """How much one plan may delete without being told to."""
    drift: DriftFile | None = None
    """What `lac drift` tells."""
    evidence: EvidenceFile | None = None
    """What plans tell of model versions."""
    variables: Mapping[str, Any] = {}
    """Values for `{{ var.… }}`. One with nothing after the colon has no default and must be set."""
    include: tuple[str, ...] | None = None
    """Patterns of manifests, relative to this file, such as `models/*.yaml` or `**/*.yaml`. By default all
    `*.yaml`, `*.yml` and `*.yaml.j2` below it, apart from `*.vars.yaml`, hidden directories and other
    stacks."""


class ProjectFile(EnvironmentFile):
    """`lac.yaml`: a stack, its files, its stores and its environments."""

    name: Annotated[str, Field(pattern=NAME)]
    """The stack's name: it owns what it makes under this name. Lower case letters, digits, `-` and `_`."""
    environments: Mapping[str, EnvironmentFile | None] = {}
    """Settings that differ, by the environment's name: `lac -e prod plan`."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An address that may hold a password, so it is in no repr.

    `reference`: the text, where it was exactly one `{{ env.NAME }}`; what is resolved elsewhere gets that
    and never `value`.
    """

    value: str = field(repr=False)
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Serve:
    """Where endpoints run. `local`: a Ray of the stack's own on this machine, and no address."""

    local: bool
    address: str = field(default="", repr=False)
    token: str | None = field(default=None, repr=False)
    data_address: str | None = None
    runtime_env: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """Where it is, without a user and a password that an address may hold."""
        return "local" if self.local else without_credentials(self.address)


@dataclass(frozen=True, slots=True)
class Settings:
    """What lac.yaml says for one environment, or for none. `directory` is absolute."""

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
    environments: frozenset[str] = frozenset()
    default_permission: str = DEFAULT_PERMISSION
    include: tuple[str, ...] = ()
