"""The process's HTTP proxies: which one serves an address. This machine's own addresses have none."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..model.redaction import without_credentials

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def is_loopback(address: str) -> bool:
    """Whether a URL leads to this machine, for which no proxy is used."""
    host = _host(address)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_of(address: str) -> str:
    """The proxy for a URL, without its password; empty for none."""
    if is_loopback(address) or proxy_bypass(_host(address)):
        return ""
    proxies = getproxies()
    return without_credentials(proxies.get(urlsplit(address).scheme) or proxies.get("all") or "")


def without_loopback(environ: Mapping[str, str], *beside: str) -> dict[str, str]:
    """The variables that keep loopback, and the hosts `beside`, from the proxies of `environ`; what it
    excepts stays so. Programs read `no_proxy` in either case, and gRPC `no_grpc_proxy` in its place."""
    names = ("no_proxy", "NO_PROXY", *(["no_grpc_proxy"] if "no_grpc_proxy" in environ else []))
    own = [host.strip() for name in names for host in environ.get(name, "").split(",")]
    hosts = ",".join(dict.fromkeys([*filter(None, own), *LOOPBACK, *filter(None, beside)]))
    return dict.fromkeys(names, hosts)


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
