"""The types of the fixtures that read manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lifecycle_as_code.manifest.load import Manifest

Files = Mapping[str, str]
Read = Callable[..., Manifest]
Problems = Callable[..., list[str]]
