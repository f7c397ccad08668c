"""The stack's own Ray, for `up`, `down` and `status`: they don't read the manifests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import Options
from .output import failure

if TYPE_CHECKING:
    from ..stores.ray.health import EndpointHealth
    from ..stores.ray.local import LocalRay


def state_directory(options: Options) -> Path:
    """The directory of the stack's state on this machine. LacError where there is no stack."""
    from ..manifest.files import suggest_directory

    directory = Path(options.directory)
    file = directory / "lac.yaml"
    if not file.is_file():
        hint = suggest_directory(directory)
        raise failure("no-stack", "no stack in this directory", f"{file} doesn't exist.", hint)
    return directory / ".lac"


def all_as_data() -> dict[str, Any]:
    """Every local Ray of this user, as plain data without tokens."""
    from ..stores.ray import local

    rays = []
    for ray in local.running():
        data = as_data(ray)
        del data["running"]
        rays.append({"state": local.state(ray), "stack": stack_of(ray), **data})
    return {"rays": rays}


def all_as_text() -> str:
    """Every local Ray of this user, with the stack that it belongs to."""
    from ..stores.ray import local

    rays = local.running()
    return "\n".join(f"{as_text(ray, local.state(ray))}\n  stack      {stack_of(ray)}" for ray in rays)


def stack_of(ray: LocalRay) -> str:
    """The stack's directory, which may be gone."""
    directory = Path(ray.directory).parent if ray.directory else None
    if directory is None:
        return "unknown"
    return str(directory) if directory.is_dir() else f"{directory} (deleted)"


def find_endpoints(options: Options, ray: LocalRay) -> tuple[EndpointHealth, ...]:
    """How the endpoints on the stack's Ray fare."""
    from ..stores.ray import local

    return local.find_endpoints(state_directory(options), ray)


def health_as_text(ray: LocalRay, endpoints: Sequence[EndpointHealth]) -> str:
    """A line for each endpoint, and a warning for each that other machines reach without a user."""
    lines = [f"  {one.name}  {one.status}" + (f": {one.problem}" if one.problem else "") for one in endpoints]
    lines += [
        f"warning: anyone who reaches {ray.listen} may use `{one.name}`: it has `auth: none`."
        for one in endpoints
        if one.is_open and ray.listen
    ]
    return "\n".join(lines)


def as_data(ray: LocalRay | None) -> dict[str, Any]:
    """The running Ray, or None, as plain data without its token."""
    if ray is None:
        return {"running": False}
    data = {"running": True, "address": ray.address, "endpoints": ray.endpoint_url, "pid": ray.pid}
    return {**data, "metrics": _metrics_url(ray)} if ray.metrics_port else data


def _metrics_url(ray: LocalRay) -> str:
    return f"http://127.0.0.1:{ray.metrics_port}/metrics"


def as_text(ray: LocalRay, state: str = "running") -> str:
    """Its process and addresses, line by line."""
    if not ray.address:
        return f"Ray is {state}, session {ray.pid}."
    over_tls = (
        f"\n  over TLS   https://{ray.listen}/serving-endpoints/<name>/invocations" if ray.listen else ""
    )
    metrics = f"\n  metrics    {_metrics_url(ray)}" if ray.metrics_port else ""
    return (
        f"Ray is {state}, process {ray.pid}.\n"
        f"  dashboard  {ray.address}\n"
        f"  endpoints  {ray.endpoint_url}/serving-endpoints/<name>/invocations{over_tls}{metrics}"
    )
