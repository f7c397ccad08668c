"""The stack's own Ray, for `up`, `down` and `status`: they don't read the manifests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import Options
from .output import failure

if TYPE_CHECKING:
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


def as_data(ray: LocalRay | None) -> dict[str, Any]:
    """The running Ray, or None, as plain data without its token."""
    if ray is None:
        return {"running": False}
    return {"running": True, "address": ray.address, "endpoints": ray.endpoint_url, "pid": ray.pid}


def as_text(ray: LocalRay) -> str:
    """Its process and addresses, line by line."""
    return (
        f"Ray is running, process {ray.pid}.\n"
        f"  dashboard  {ray.address}\n"
        f"  endpoints  {ray.endpoint_url}/serving-endpoints/<name>/invocations"
    )
