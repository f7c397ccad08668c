"""The list of all kinds, each after the kinds that it refers to. A new kind is a file here and an entry
below."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .base import Kind
from .experiment import Experiments
from .model_alias import ModelAliases
from .model_version import ModelVersions
from .permission import PermissionKind
from .registered_model import RegisteredModels
from .role import RoleKind
from .serving_endpoint import ServingEndpoints

KINDS: Mapping[str, Kind[Any]] = MappingProxyType(
    {
        kind.spec.kind: kind
        for kind in (
            RegisteredModels(),
            ModelVersions(),
            ModelAliases(),
            Experiments(),
            RoleKind(),
            PermissionKind(),
            ServingEndpoints(),
        )
    }
)
