"""The credentials in a provider's block: read where they are used, and kept out of every text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

_SHORTEST = 6
"""Characters of a secret that is worth hiding; a shorter one would blank out ordinary words."""


class Secrets(Protocol):
    """What `references.Secrets` offers."""

    async def resolve(self, value: str, /) -> str:
        """`value` with its references replaced; LookupError where one can't be."""

    def forget(self) -> None:
        """Read every secret anew when it is next needed."""


class Keys:
    """The fields of one provider's block. Every value read with `secret` is hidden by `hide`."""

    def __init__(self, block: str, config: Mapping[str, Any], secrets: Secrets) -> None:
        self._block = block
        self._config = config
        self._secrets = secrets
        self._hidden: set[str] = set()

    def __repr__(self) -> str:
        """The block's name alone."""
        return f"Keys({self._block})"

    def has(self, field: str) -> bool:
        """Whether the block gives the field."""
        return bool(_at(self._config, field))

    def word(self, field: str) -> str:
        """A field of a fixed choice of words, in lower case."""
        return str(_at(self._config, field) or "").lower()

    async def text(self, field: str, default: str = "") -> str:
        """A field that may be shown; what its references stand for may not, for an address can hold a key."""
        value = str(_at(self._config, field) or "")
        text = await self._secrets.resolve(value)
        if text != value:
            self.conceal(text)
        return text or default

    async def secret(self, field: str) -> str:
        """A field that may not. LookupError where it is missing or its reference doesn't resolve."""
        if not self.has(field):
            raise LookupError(f"{self._block}.{field} is missing")
        value = await self.text(field)
        self.conceal(value)
        return value

    def conceal(self, *values: str) -> None:
        """Hide these too: tokens that were made from a secret."""
        # credentials that rotate each hour must not pile up
        if len(self._hidden) > 64:
            self._hidden.clear()
        self._hidden.update(value for value in values if len(value) >= _SHORTEST)

    def hide(self, text: str) -> str:
        """`text` without any of the secrets."""
        for value in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(value, "[hidden]")
        return text

    def forget(self) -> None:
        """Read every secret anew: the provider refused the ones that are remembered."""
        self._secrets.forget()


def _at(config: Mapping[str, Any], field: str) -> Any:
    """The value at a dotted path; None without one."""
    value: Any = config
    for step in field.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
