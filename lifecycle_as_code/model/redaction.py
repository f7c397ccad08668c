"""Detect secrets in plain text, by the shapes that providers document, and remove credentials from URLs.
Pure; a guess, on the safe side. Nothing here returns a value that looks like a secret, only its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..serving.tokens import PATTERN

_SHAPES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (what, re.compile(shape))
    for what, shape in (
        ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----"),
        ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"),
        ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{16,}"),
        ("a key of an `sk-` API", r"\bsk-[A-Za-z0-9_-]{16,}"),
        ("a Slack token", r"\bxox[a-z]-[A-Za-z0-9-]{10,}"),
        ("a Google API key", r"\bAIza[0-9A-Za-z_-]{30,}"),
        ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{20,}"),
        ("a Databricks token", r"\bdapi[0-9a-f]{32}"),
        ("a token of lac", PATTERN),
        ("a JSON web token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        ("an address with a password", r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:[^\s/@{]+@"),
    )
)

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAMED: Final = frozenset(
    {"password", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "apikey", "accesskey"}
    | {"credential", "credentials"}
)
_OF_KEYS: Final = frozenset(
    {"access", "account", "admin", "api", "auth", "client", "encryption", "license", "master", "private"}
    | {"secret", "service", "shared", "sign", "signing", "ssh", "storage", "webhook"}
)
_ORDINARY: Final = re.compile(r"[-+]?[0-9.]*|true|false|yes|no|none|null", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"\{\{.*\}\}", re.DOTALL)
_PATH: Final = re.compile(r"(?:/|\./|~/)[\w./ -]*")


def secret_shape(value: str) -> str:
    """The kind of secret that `value` looks like, such as `an AWS access key`; empty if none."""
    return next((what for what, shape in _SHAPES if shape.search(value)), "")


def is_secret_name(name: str) -> bool:
    """Whether the name is typical of secrets: `password`, `OPENAI_API_KEY`, `githubToken`, and any `…_KEY` in
    capitals, as in environment variables. `max_tokens` and `primary_key` aren't."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if _NAMED & {*words}:
        return True
    if not words or words[-1] not in ("key", "keys"):
        return False
    return name.isupper() or bool(_OF_KEYS & {*words[:-1]})


def secrets_in(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The values in plain data that look like secrets: the dotted path of each, and why it looks like one."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            key = str(name)
            # a name may itself be a secret, and isn't repeated either
            if what := secret_shape(key):
                yield ".".join((*path, "…")), f"a name in it looks like {what}"
                key = "…"
            yield from secrets_in(value, (*path, key))
    elif isinstance(data, list | tuple):
        for item in data:
            name = item.get("name") if isinstance(item, Mapping) else None
            yield from secrets_in(item, (*path, name) if isinstance(name, str) else path)
    elif isinstance(data, str) and (what := _looks(path[-1] if path else "", data)):
        yield ".".join(path), what


def _looks(name: str, value: str) -> str:
    if not value or _REFERENCE.fullmatch(value.strip()):
        return ""
    if what := secret_shape(value):
        return f"it looks like {what}"
    if not is_secret_name(name):
        return ""
    password = "pass" in name.lower() or "pwd" in name.lower()
    if not password and (_ORDINARY.fullmatch(value) or _PATH.fullmatch(value)):
        return ""
    return "its name is typical of secrets"


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_QUERY: Final = re.compile(r"[?#]")
_AZURE: Final = re.compile(r"(?i:abfss?|wasbs?)://[\w$-]+@[\w.-]+(/[^@]*)?")


def without_credentials(address: str) -> str:
    """The address without user, password and query, for people to read. Everything before the last `@` is
    removed, since an unencoded password may contain slashes. Azure's `<container>@<account>` stays, and the
    user in ssh's `git@host:path`, unless a password follows it."""
    scheme, colon, rest = address.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme) or ("@" in rest and not rest.startswith("/")):
        user, at, host = address.rpartition("@")
        return host if at and ":" in user and not address.startswith(("/", ".")) else address
    place, *query = _QUERY.split(rest, maxsplit=1)
    if query and "@" in query[0]:
        # either part could belong to the password
        return f"{scheme}:…"
    if "@" in place and place.startswith("//") and not _AZURE.fullmatch(f"{scheme}:{place}"):
        place = "//" + place.rpartition("@")[2]
    return f"{scheme}:{place}"
