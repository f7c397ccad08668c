"""Open stores and clusters from the settings of `lac.yaml`; an apply makes those that are missing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..kinds.base import Site
from ..manifest.settings import Connection
from ..model.diagnostics import Diagnostic, LacError, refuse
from ..model.events import Event
from ..model.snapshot import Desired
from ..model.spec import Store
from ..serving.references import names_in, secrets_in
from ..stores.mlflow.bootstrap import create_database, empty_store
from ..stores.mlflow.schema_check import check_schema, check_workspace
from ..stores.sql.store import Role, SqlStore, holds_secret, open_store, reading
from .background import run_in_background
from .ledger import Ledger

if TYPE_CHECKING:
    from ..manifest.settings import Settings
    from ..stores.ray.client import Cluster


@dataclass(frozen=True, slots=True)
class Connections:
    """The stores and the cluster that a stack's settings name."""

    settings: Settings

    def ledger(self) -> Ledger:
        """The SQL stores, opened lazily. Creates nothing."""
        settings = self.settings
        auth = settings.auth_store
        return Ledger(
            self.settings.name,
            self._store(settings.store.value, "tracking"),
            None if auth is None else self._store(auth.value, "auth"),
            settings.workspace,
        )

    def _store(self, url: str, role: Role) -> SqlStore:
        return open_store(url, role=role, base=self.settings.directory)

    @contextmanager
    def reading(self) -> Iterator[tuple[Ledger, tuple[Diagnostic, ...]]]:
        """The ledger for reading: an empty store takes the place of one that doesn't exist yet."""
        ledger = self.ledger()
        warnings: list[Diagnostic] = []
        registry, auth = ledger.registry, ledger.auth
        if self._is_empty(registry, warnings):
            registry = empty_store("tracking")
        if auth is not None and self._is_empty(auth, warnings):
            auth = empty_store("auth")
        yield replace(ledger, registry=registry, auth=auth), tuple(warnings)

    def _is_empty(self, store: SqlStore, warnings: list[Diagnostic]) -> bool:
        if not store.exists:
            return True
        with reading(store) as db:
            schema = check_schema(db, store.role)
            if store.role == "tracking" and not schema.empty:
                check_workspace(db, self.settings.workspace)
        warnings += schema.diagnostics
        return schema.empty

    def refuse_unreachable(self, desired: Desired) -> None:
        """LacError with every object declared for a store that `lac.yaml` doesn't name."""
        missing = []
        for address, spec in desired.objects.items():
            if spec.store is Store.SERVE and self.settings.serve is None:
                missing.append((address, "serve", "serve: local"))
            if spec.store is Store.AUTH and self.settings.auth_store is None:
                missing.append((address, "auth_store", "auth_store: sqlite:///basic_auth.db"))
        refuse(
            Diagnostic(
                "no-store",
                "the stack has no store for this object",
                f"{address} needs `{setting}:`, which lac.yaml doesn't set.",
                hint=f"add `{example}` to lac.yaml",
                at=desired.places.get(address),
            )
            for address, setting, example in missing
        )

    def create_stores(self, stop: Callable[[], bool]) -> Iterator[Event]:
        """Create MLflow's databases where they are missing, by MLflow's own migrations."""
        ledger = self.ledger()
        for store in (ledger.registry, ledger.auth):
            if store is not None and self._is_empty(store, []):
                yield from run_in_background(partial(_create, store), stop)

    def site(self, store_id: str) -> Site:
        """The site of this stack's endpoints, without any password. `store_id`: the registry's own id."""
        settings = self.settings
        auth = settings.auth_store
        serve = settings.serve
        return Site(
            settings.name,
            "" if auth is None else auth.reference or self._store(auth.value, "auth").shareable,
            serve.runtime_env if serve else {},
            store_id,
            settings.secrets,
            self._shareable(settings.usage_store, "usage"),
            self._shareable(settings.rate_limit_store, "limits"),
        )

    def _shareable(self, store: Connection | None, role: Role) -> str:
        """A store's address as replicas may have it: a reference or a URL, with files by their absolute
        paths; empty if it holds a secret. LacError for a store of another sort."""
        if store is None:
            return ""
        scheme, _, rest = store.value.partition("://")
        # `lac usage` reads it from any directory
        if role == "usage" and scheme in ("parquet", "file") and rest.startswith("/"):
            known = store.value
        elif role == "limits" and scheme in ("redis", "rediss", "valkey", "valkeys"):
            known = "" if holds_secret(store.value) else store.value
        else:
            known = self._store(store.value, role).shareable
        return store.reference or known

    def names(self, ids: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """The stores as a saved plan names them. `ids`: the databases' own, by role."""
        ledger = self.ledger()
        names = {
            role: {"id": ids.get(role, ""), "dialect": store.dialect, "address": store.display_address}
            for role, store in (("registry", ledger.registry), ("auth", ledger.auth))
            if store is not None
        }
        serve = self.settings.serve
        return names if serve is None else {**names, "serve": {"address": serve.display_address}}

    def cluster(self) -> AbstractContextManager[Cluster | None]:
        """A connection to Ray, or None where the stack has no serving plane or its local one is down."""
        serve = self.settings.serve
        if serve is None:
            return nullcontext()
        if serve.local:
            from ..stores.ray import local

            running = local.status(self.local_state)
            return nullcontext() if running is None else local.connect(self.local_state, running)
        from ..stores.ray.client import Cluster

        return Cluster(serve.address, serve.token, data_address=serve.data_address)

    @property
    def local_state(self) -> Path:
        """The directory of this machine's own state, such as the local Ray's."""
        return self.settings.directory / ".lac"

    def start_ray(
        self, desired: Desired, environ: Mapping[str, str], stop: Callable[[], bool]
    ) -> Iterator[Event]:
        """Start the stack's own loopback Ray, where `serve: local` names one and none runs. LacError
        `ray-environment` where one runs that lacks a variable which the manifests name."""
        serve = self.settings.serve
        if serve is None or not serve.local:
            return
        from ..stores.ray import local

        names = self.replica_variables(desired)
        if (running := local.status(self.local_state)) is not None:
            if missing := sorted(names.difference(running.variables)):
                raise LacError(_missing(missing))
            return
        variables = {name: environ[name] for name in names if name in environ}
        yield from run_in_background(
            lambda tell: local.up(
                self.local_state,
                environment=variables,
                tls=self.local_tls,
                metrics_port=self.metrics_port,
                on_progress=tell,
            ),
            stop,
        )

    def warn_of_missing_secrets(self, desired: Desired, environ: Mapping[str, str]) -> Iterator[Diagnostic]:
        """Variables and files that this machine lacks and the endpoints on its local Ray need. Commands are
        not run."""
        serve = self.settings.serve
        if serve is None or not serve.local:
            return
        from ..stores.ray import local

        running = local.status(self.local_state)
        known = environ if running is None else frozenset(running.variables)
        for address, spec in desired.objects.items():
            values = list(spec.replica_values())
            missing = {
                f"environment variable {name} is not set"
                for value in values
                for name in names_in(value) - {*known}
            }
            for name in {name for value in values for name in secrets_in(value)}:
                match self.settings.secrets.get(name):
                    case {"env": str(variable)} if variable not in known:
                        missing.add(f"secret {name}: environment variable {variable} is not set")
                    case {"file": str(path)} if problem := _file_problem(path):
                        missing.add(f"secret {name}: file {path} {problem}")
            if missing:
                yield Diagnostic(
                    "missing-secret",
                    "a node lacks what an endpoint needs",
                    f"{address} on this machine, where its local Ray runs: {'; '.join(sorted(missing))}.",
                    hint="provide it; otherwise the rollout fails and is undone",
                    at=desired.places.get(address),
                    severity="warning",
                )

    @property
    def local_tls(self) -> tuple[str, Path, Path] | None:
        """Where a local Ray's endpoints answer over TLS, with the certificate and its key."""
        options, base = self.settings.local, self.settings.directory
        if options is None or not (options.listen and options.tls_cert and options.tls_key):
            return None
        return options.listen, base / options.tls_cert, base / options.tls_key

    @property
    def metrics_port(self) -> int:
        """Where a local Ray's metrics are; 0 for nowhere."""
        return self.settings.local.metrics_port or 0 if self.settings.local else 0

    def replica_variables(self, desired: Desired) -> frozenset[str]:
        """The environment variables to which references in the endpoints and in `auth_store` lead: those that
        a local Ray's replicas get from lac's own environment."""
        settings = self.settings
        stores = (settings.auth_store, settings.usage_store, settings.rate_limit_store)
        values = [store.reference or "" for store in stores if store]
        for spec in desired.objects.values():
            values += spec.replica_values()
        secrets = frozenset().union(*map(secrets_in, values))
        variables = {str(settings.secrets[name].get("env", "")) for name in secrets & settings.secrets.keys()}
        return frozenset().union(*map(names_in, values), variables - {""})


def _file_problem(path: str) -> str:
    """Why a secret's file isn't fit for use; empty if it is."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if not os.access(path, os.R_OK):
        return "can't be read"
    return "may be written by everyone" if mode & stat.S_IWOTH else ""


def _missing(names: Sequence[str]) -> Diagnostic:
    listed = ", ".join(f"`{name}`" for name in names)
    return Diagnostic(
        "ray-environment",
        "the local Ray was started without variables that the manifests name",
        f"Its replicas can't resolve {listed}.",
        hint="set the variables, then run `lac down` and `lac apply`",
    )


def _create(store: SqlStore, tell: Callable[[str], None]) -> None:
    create_database(store, tell=tell)
