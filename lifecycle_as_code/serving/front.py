"""Everything that a replica of an ingress answers by, read from one `user_config` and replaced as a whole.

What a new configuration has in common with the former one is kept: the connections to providers, the counts
of rate limits, the remembered answers of the access check.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ray.serve.handle import DeploymentHandle

from lifecycle_as_code.serving import routing
from lifecycle_as_code.serving.access import Gate
from lifecycle_as_code.serving.references import Secrets

if TYPE_CHECKING:
    from lifecycle_as_code.serving.guardrails import Guardrails
    from lifecycle_as_code.serving.limits import Limits
    from lifecycle_as_code.serving.providers import ExternalModel
    from lifecycle_as_code.serving.usage import UsageLog

_logger = logging.getLogger(__name__)


class Users:
    """The requests that use a front, by their number. For use on one event loop."""

    __slots__ = ("_idle", "_number")

    def __init__(self) -> None:
        self._number = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """One more."""
        self._number += 1
        self._idle.clear()

    def leave(self) -> None:
        """One less."""
        self._number -= 1
        if not self._number:
            self._idle.set()

    async def wait(self) -> None:
        """Return once there is none. For a front that gets no more of them."""
        await self._idle.wait()

    def abandon(self) -> None:
        """Wait for them no longer."""
        self._idle.set()


@dataclass(frozen=True, slots=True)
class Front:
    """`settings`: by part, what that part was made from. `limits`, `guardrails` and `log` are None where the
    endpoint has none. `proxies`: the models at providers, by the names of their rows."""

    table: routing.Table = field(default_factory=routing.Table)
    gate: Gate = field(default_factory=lambda: Gate({}))
    limits: Limits | None = None
    guardrails: Guardrails | None = None
    log: UsageLog | None = None
    keeps_bodies: bool = False
    falls_back: bool = False
    handles: Mapping[str, DeploymentHandle[Any]] = field(default_factory=dict)
    proxies: Mapping[str, ExternalModel] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    users: Users = field(default_factory=Users)

    async def close(self, successor: Front | None = None) -> None:
        """Close what `successor` doesn't use. What isn't written yet is written."""
        kept = {id(proxy) for proxy in successor.proxies.values()} if successor else set()
        closings = [proxy.close() for proxy in self.proxies.values() if id(proxy) not in kept]
        if self.limits is not None and (successor is None or successor.limits is not self.limits):
            closings.append(self.limits.close())
        if self.log is not None and (successor is None or successor.log is not self.log):
            closings.append(asyncio.to_thread(self.log.close))
        for problem in await asyncio.gather(*closings, return_exceptions=True):
            if isinstance(problem, Exception):
                _logger.error("A part of an endpoint can't be closed: %s", type(problem).__name__)

    @classmethod
    def read(cls, endpoint: str, config: Mapping[str, Any], former: Front, primary: str | None) -> Front:
        """The front of this `user_config`. `primary`: the app of the entity that this process holds. Raises
        whatever a bad configuration causes."""
        table = routing.read(dict(config))
        stack = str(config.get("stack") or "")
        gateway: Mapping[str, Any] = config.get("gateway") or {}
        settings: dict[str, Any] = {
            "auth": dict(config.get("auth") or {}),
            "limits": _limit_settings(config, gateway),
            "guardrails": gateway.get("guardrails"),
            "log": _log_settings(endpoint, config, gateway),
            "proxies": {t.app: _proxy_settings(t) for t in table.targets if t.external_model is not None},
        }

        def is_same(part: str) -> bool:
            return part in former.settings and former.settings[part] == settings[part]

        known = former.settings.get("proxies") or {}
        return cls(
            table=table,
            gate=former.gate if is_same("auth") else Gate(settings["auth"]),
            limits=former.limits if is_same("limits") else _make_limits(settings["limits"], endpoint, former),
            guardrails=former.guardrails
            if is_same("guardrails")
            else _make_guardrails(settings["guardrails"]),
            log=former.log if is_same("log") else _make_log(settings["log"], stack),
            keeps_bodies=bool(settings["log"] and settings["log"].get("payloads") is not None),
            falls_back=bool((gateway.get("fallback_config") or {}).get("enabled")),
            handles={
                t.app: former.handles.get(t.app) or DeploymentHandle("entity", t.app)
                for t in table.targets
                if t.app != primary and t.external_model is None
            },
            proxies={
                t.app: former.proxies[t.app]
                if known.get(t.app) == settings["proxies"][t.app] and t.app in former.proxies
                else _make_proxy(t)
                for t in table.targets
                if t.external_model is not None
            },
            settings=settings,
        )


def _limit_settings(config: Mapping[str, Any], gateway: Mapping[str, Any]) -> dict[str, Any] | None:
    if not gateway.get("rate_limits"):
        return None
    return {
        "rate_limits": gateway["rate_limits"],
        "store": config.get("rate_limit_store") or "",
        "failure_mode": gateway.get("rate_limit_failure_mode", "open"),
    }


def _log_settings(
    endpoint: str, config: Mapping[str, Any], gateway: Mapping[str, Any]
) -> dict[str, Any] | None:
    parts = {"usage": "usage_tracking_config", "payloads": "inference_table_config"}
    on = {part: block for part, key in parts.items() if (block := gateway.get(key)) and block.get("enabled")}
    return {"store": config.get("usage_store") or "", "endpoint": endpoint, **on} if on else None


def _proxy_settings(target: routing.Target) -> dict[str, Any]:
    return {
        "settings": target.external_model,
        "secrets": target.secrets,
        "timeout": target.timeout,
        "first_token_timeout": target.first_token_timeout,
        "max_retries": target.max_retries,
    }


def _make_limits(settings: dict[str, Any] | None, endpoint: str, former: Front) -> Limits | None:
    if settings is None:
        return None
    from lifecycle_as_code.serving.limits import Limits

    return Limits(settings, endpoint, former=former.limits)


def _make_guardrails(settings: Mapping[str, Any] | None) -> Guardrails | None:
    if not settings:
        return None
    from lifecycle_as_code.serving.guardrails import Guardrails

    return Guardrails(settings)


def _make_log(settings: dict[str, Any] | None, stack: str) -> UsageLog | None:
    if settings is None:
        return None
    from lifecycle_as_code.serving.usage import UsageLog, find_directory

    return UsageLog(settings, find_directory(stack, settings["endpoint"]))


def _make_proxy(target: routing.Target) -> ExternalModel:
    from lifecycle_as_code.serving.providers import ExternalModel

    assert target.external_model is not None
    return ExternalModel(
        target.external_model,
        Secrets(target.secrets),
        timeout=target.timeout or routing.TIMEOUT,
        first_token_timeout=target.first_token_timeout,
        max_retries=target.max_retries,
    )
