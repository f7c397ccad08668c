"""lac's own bearer tokens: how they look and how they are stored. Pure.

A token is `lac_`, 30 random characters and 6 of a checksum, all of base62: 178 random bits, as many as
GitHub's tokens have, and the same form. Secret scanners find it by `PATTERN`; `is_token` tells by the
checksum, without asking anybody, whether what they found is one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "lac_"
PATTERN = r"\blac_[0-9A-Za-z]{36}\b"
"""The regular expression for secret scanners: gitleaks' `regex`, GitHub's custom patterns."""

_SHAPE = re.compile(r"lac_[0-9A-Za-z]{36}", re.ASCII)
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM = 30


def make_token() -> str:
    """A new token. Whoever has it is let in: it's shown once and stored nowhere."""
    body = PREFIX + "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return body + _checksum(body)


def is_token(text: str) -> bool:
    """Whether `text` has the form of a token and the right checksum."""
    return _SHAPE.fullmatch(text) is not None and _checksum(text[:-6]) == text[-6:]


def hash_token(token: str) -> str:
    """What is stored in a token's place: SHA-256 in hexadecimal. A slow hash is for what people choose."""
    return hashlib.sha256(token.encode()).hexdigest()


def mark_user(password_hash: str | None) -> str:
    """A mark of MLflow's row of a user, for a database that may give a deleted user's id to the next one."""
    return hashlib.sha256((password_hash or "").encode()).hexdigest()


def _checksum(body: str) -> str:
    """CRC-32 (zlib's) of all that comes before it, in 6 digits of base62, the highest first."""
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits
