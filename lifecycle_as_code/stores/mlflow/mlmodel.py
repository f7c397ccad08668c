"""What an MLmodel file says about a version: flavors, versions, size, signature. Bytes in, data out; pure.

The model's author wrote the file, so it is read like a manifest (`manifest.yaml`), with its limits
on depth, aliases and counts, and a smaller one on size. A file that MLflow and we could read differently is a
problem, not a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ...manifest.yaml.nodes import Map, Plain, Seq
from ...manifest.yaml.reader import parse
from ...manifest.yaml.report import Report
from ...model.signature import Signature
from ...review.signature.reader import parse_signature

MAX_BYTES: Final = 4 * 1024 * 1024
"""The largest MLmodel that is read. A signature of 10,000 columns takes 600 kB."""
MAX_VALUES: Final = 50_000
"""How many values an MLmodel may hold. MLflow writes some fifty, a signature being one text."""
MAX_TEXT: Final = 200
"""The longest name or version that is kept whole."""
PYFUNC: Final = "python_function"
"""The flavor that MLflow adds to nearly every model, for its own loader."""


@dataclass(frozen=True, slots=True)
class MlModel:
    """An MLmodel's facts. What it doesn't say is empty or None.

    `flavors`: each flavor and the version of its library, empty where it isn't said; `python_function` is
    among them only where there is no other. `size`: of all the model's files, in bytes. `problem`: why the
    file, or a part of it, can't be read, as a sentence; the other parts are set all the same.
    """

    flavors: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    python: str = ""
    mlflow: str = ""
    size: int | None = None
    run_id: str = ""
    model_id: str = ""
    signature: Signature | None = None
    problem: str = ""


def read_mlmodel(data: bytes) -> MlModel:
    """Read the file's content. Never raises: see `problem`."""
    if len(data) > MAX_BYTES:
        return MlModel(problem=f"MLmodel has {len(data):,} bytes; {MAX_BYTES:,} are read.")
    report = Report("MLmodel")
    root = parse(data, report, MAX_VALUES)
    # a tag only says what a value is meant to be; MLflow writes them in metadata, which isn't read here
    for fault in report.problems:
        if fault.code != "tag-refused":
            return MlModel(problem=f"MLmodel can't be read: {fault.summary} ({fault.at}): {fault.detail}")
    if not isinstance(root, Map):
        return MlModel(problem="MLmodel isn't a mapping.")
    flavors = _mapping(root.get("flavors"))
    signature, problem = _signature(root.get("signature"))
    return MlModel(
        flavors=_flavors(flavors),
        python=_text(_mapping(flavors.get(PYFUNC)).get("python_version")),
        mlflow=_text(root.get("mlflow_version")),
        size=_size(root.get("model_size_bytes")),
        run_id=_text(root.get("run_id")),
        model_id=_text(root.get("model_id")),
        signature=signature,
        problem=problem,
    )


def _mapping(node: Any) -> Mapping[str, Any]:
    return node if isinstance(node, Map) else {}


def _text(node: Any) -> str:
    """A scalar as it is written: `3.10` stays `3.10`."""
    if isinstance(node, Plain):
        return "" if node.value is None else node.text[:MAX_TEXT]
    return node[:MAX_TEXT] if isinstance(node, str) else ""


def _size(node: Any) -> int | None:
    value = node.value if isinstance(node, Plain) else None
    return value if value.__class__ is int and value >= 0 else None


def _flavors(flavors: Mapping[str, Any]) -> Mapping[str, str]:
    versions = {
        name[:MAX_TEXT]: _library(name, _mapping(flavor))
        for name, flavor in flavors.items()
        if name != PYFUNC
    }
    return MappingProxyType(versions or dict.fromkeys(flavors, ""))


def _library(flavor: str, entries: Mapping[str, Any]) -> str:
    """The version of the flavor's library: `sklearn_version` for sklearn, `xgb_version` for xgboost."""
    if own := _text(entries.get(f"{flavor}_version")):
        return own
    versions = [_text(value) for name, value in entries.items() if name.endswith("_version")]
    return versions[0] if len(versions) == 1 else ""


def _signature(node: Any) -> tuple[Signature | None, str]:
    """The signature, and why it can't be read. MLflow treats anything but a mapping as none."""
    if not isinstance(node, Map):
        return None, ""
    parts = {name: _plain(node.get(name)) for name in ("inputs", "outputs", "params")}
    try:
        return parse_signature(parts), ""
    except ValueError as error:
        return None, f"MLmodel has a signature that can't be read: {error}."


def _plain(node: Any) -> Any:
    """A part of the signature: JSON text, None, or any other value, which the parser refuses."""
    if isinstance(node, Plain):
        return None if node.value is None else node.value
    return list(node) if isinstance(node, Seq) else node
