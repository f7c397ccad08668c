"""What `up`, `down` and `status` share. They work on a directory, whatever state its manifests are in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import Options

if TYPE_CHECKING:
    from ..stores.ray.local import LocalRay


def state_directory(options: Options) -> Path:
    """Where the stack keeps what is this machine's own. LacError where there is no stack."""
    from ..manifest.files import way_to_a_stack
    from ..model.diagnostics import Diagnostic, LacError

    directory = Path(options.directory)
    if not (directory / "lac.yaml").is_file():
        raise LacError(
            Diagnostic(
                "no-stack",
                "there is no stack here",
                f"{directory / 'lac.yaml'} doesn't exist.",
                hint=way_to_a_stack(directory),
            )
        )
    return directory / ".lac"


def as_data(ray: LocalRay | None) -> dict[str, Any]:
    """A running Ray, or none, as plain data; never its token."""
    if ray is None:
        return {"running": False}
    return {
        "running": True,
        "address": ray.address,
        "endpoints": ray.endpoint_url,
        "pid": ray.pid,
    }


def as_text(ray: LocalRay) -> str:
    """Where it is, line by line."""
    return (
        f"Ray runs, process {ray.pid}.\n"
        f"  dashboard  {ray.address}\n"
        f"  endpoints  {ray.endpoint_url}/serving-endpoints/<name>/invocations"
    )
