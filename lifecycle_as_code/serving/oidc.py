"""Bearer tokens of an OIDC issuer: verified with the issuer's public keys, which this module fetches.

PyJWT verifies: it is small (300 kB), maintained, and needs nothing but `cryptography`, which mlflow brings.
(joserfc is as good and three times as large; Authlib is eleven times as large and deprecates its own JOSE.)
PyJWT's own client of key sets isn't used: it drops keys that it knows when the issuer can't be reached, and
sets no limit to what it reads.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lifecycle_as_code.serving.scoring import Answer, error

_logger = logging.getLogger(__name__)

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Asymmetric ones alone: no public key ever serves as a secret, and `none` is no signature."""
USERNAME_CLAIM = "email"
"""The default of `username_claim`: what MLflow's users are called where an issuer has signed them up."""

MAX_TOKEN = 16 * 1024
"""Characters of a token; what is longer is refused unread."""
_MAX_DOCUMENT = 1 << 20
_LEEWAY = 10
"""Seconds by which the issuer's clock may be ahead (`nbf`, `iat`). Never counts for `exp`."""
_MAX_AGE = 300.0
"""Seconds after which known keys are fetched again, so that one that was withdrawn ends."""
_INTERVAL = 10.0
"""Seconds between two attempts to fetch the keys: unknown ones can't make us flood the issuer."""
_PATIENCE = 5.0
"""Seconds that one attempt may take."""
_MAX_NAME = 255


class Identity(NamedTuple):
    """Whom a token names, and for how many seconds it is valid from now on."""

    username: str
    seconds: float


class Refusal(NamedTuple):
    """Why a token isn't taken, and for how many seconds at most that stays so."""

    answer: Answer
    seconds: float = float("inf")


def check_url(url: str) -> str:
    """Why `url` can't be an issuer's address, or empty. Over plain HTTP anybody on the way could put in keys
    of their own."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # raises for no number
        _ = parts.port
    except ValueError:
        return "it is no URL"
    if parts.scheme not in ("https", "http") or not host:
        return "it is no https URL"
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        return "it has a user, a query or a fragment"
    if parts.scheme == "http" and not _is_loopback(host):
        return "it must begin with https://"
    return ""


class Issuer:
    """One issuer and its keys. `read` blocks and may be called from several threads.

    `settings`: `issuer` and `audience`, both as they stand in tokens, and optionally `username_claim` and
    `jwks_url` (then nothing is discovered). ValueError where they can't be used. `threads`: those in which a
    token may wait for a fetch; one, so that two never fetch at once.
    """

    def __init__(self, settings: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = str(settings.get("issuer") or "")
        self._audience = str(settings.get("audience") or "")
        self._claim = str(settings.get("username_claim") or USERNAME_CLAIM)
        self._jwks_url = str(settings.get("jwks_url") or "")
        if problem := check_url(self._issuer):
            raise ValueError(f"issuer: {problem}")
        if self._jwks_url and (problem := check_url(self._jwks_url.partition("?")[0])):
            raise ValueError(f"jwks_url: {problem}")
        if not self._audience:
            raise ValueError("audience: it is empty")
        self._clock = clock
        self.threads = ThreadPoolExecutor(1, thread_name_prefix="lac-access-oidc")
        self._keys: Mapping[str | None, Mapping[str, Any]] = {}
        self._fetched = self._tried = float("-inf")

    def read(self, token: str, *, may_fetch: bool) -> Identity | Refusal:
        """Verify a token. `may_fetch`: wait for the issuer's keys where the token's isn't known; only in
        `threads`."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS or not isinstance(kid, str | None):
                return _refuse("its algorithm isn't accepted")
            jwk = self._find_key(kid, may_fetch=may_fetch)
            if isinstance(jwk, Refusal):
                return jwk
            claims = jwt.decode(
                token,
                jwt.PyJWK({**jwk}, algorithm=jwk.get("alg") or algorithm),
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
            seconds = float(claims["exp"]) - time.time()
        except jwt.ExpiredSignatureError:
            return _refuse("it has expired")
        except jwt.ImmatureSignatureError:
            # soon it is
            return _refuse("it isn't valid yet", 1.0)
        except jwt.InvalidIssuerError:
            return _refuse("it has another issuer")
        except jwt.InvalidAudienceError:
            return _refuse("it is for another audience")
        except Exception:
            # whatever a stranger sends must end here
            return _refuse("it can't be verified")
        if not seconds > 0:
            return _refuse("it has expired")
        name = claims.get(self._claim)
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
            return _forbid(f"The token's claim `{self._claim}` is not the name of a user.")
        if self._claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            return _forbid("The issuer has not verified the token's `email`.")
        return Identity(name, seconds)

    def _find_key(self, kid: str | None, *, may_fetch: bool) -> Mapping[str, Any] | Refusal:
        now = self._clock()
        may_try = now - self._tried >= _INTERVAL
        if (jwk := self._look_up(kid)) is None and may_fetch and may_try:
            self._fetch()
            jwk = self._look_up(kid)
        elif jwk is not None and now - self._fetched > _MAX_AGE and may_try:
            # the key is known: nobody waits for the issuer
            self._tried = now
            self.threads.submit(self._fetch)
        if jwk is not None:
            return jwk
        if not self._keys or (may_fetch and self._tried > self._fetched):
            message = "The token's issuer can't be reached at the moment."
            return Refusal(error(503, "TEMPORARILY_UNAVAILABLE", message), 0.0)
        # a key that was just made is found when the keys may be fetched again
        return _refuse("its key is not among the issuer's", self._tried + _INTERVAL - self._clock())

    def _look_up(self, kid: str | None) -> Mapping[str, Any] | None:
        """The key of this name; without a name, the only key (OpenID Connect Core, 10.1)."""
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _fetch(self) -> None:
        """Fetch the keys; keep those that are known where that fails. Never raises."""
        self._tried = self._clock()
        try:
            address = self._jwks_url or self._discover()
            keys = {
                jwk.get("kid"): jwk
                for jwk in _get(address)["keys"]
                # `oct` is a secret shared with the issuer
                if jwk.get("use", "sig") == "sig" and jwk.get("kty") in ("RSA", "EC", "OKP")
            }
            if not keys:
                raise ValueError("it has no key for signatures")
        except Exception as e:
            _logger.warning("The keys of issuer %s can't be fetched: %s", self._issuer, type(e).__name__)
            return
        self._keys, self._fetched = keys, self._tried

    def _discover(self) -> str:
        """The address of the keys (OpenID Connect Discovery, 4)."""
        document = _get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        address = document["jwks_uri"]
        if document["issuer"] != self._issuer or check_url(address.partition("?")[0]):
            raise ValueError("it is another issuer's")
        return str(address)


def _get(url: str) -> Any:
    import httpx

    deadline = time.monotonic() + _PATIENCE
    body = b""
    # a compressed answer could be a thousand times longer than what arrives
    plain = {"Accept-Encoding": "identity"}
    # no redirects: they could lead to an address that nobody has checked
    with (
        httpx.Client(timeout=_PATIENCE, follow_redirects=False, headers=plain) as client,
        client.stream("GET", url) as reply,
    ):
        if reply.status_code != 200:
            raise ValueError(f"status {reply.status_code}")
        for part in reply.iter_raw():
            body += part
            if len(body) > _MAX_DOCUMENT or time.monotonic() > deadline:
                raise ValueError("the answer is too long or too slow")
    return json.loads(body)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse(why: str, seconds: float = float("inf")) -> Refusal:
    return Refusal(error(401, "UNAUTHENTICATED", f"The token is refused: {why}."), seconds)


def _forbid(message: str) -> Refusal:
    return Refusal(error(403, "PERMISSION_DENIED", message))
