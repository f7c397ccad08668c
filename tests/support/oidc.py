"""An OIDC issuer on loopback: its discovery document, its keys, and tokens that it signs."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "lac"


@cache
def rsa_key(_number: int = 0) -> rsa.RSAPrivateKey:
    """A key of its own for each number."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key(_number: int = 0) -> ec.EllipticCurvePrivateKey:
    """The same on a curve."""
    return ec.generate_private_key(ec.SECP256R1())


def _set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass
class LoopbackIssuer:
    """`keys` by their ids: what is published. `requests` counts by path. `is_up` False: it answers 503."""

    url: str
    keys: dict[str, Any] = field(default_factory=lambda: {"rsa": rsa_key(), "ec": ec_key()})
    requests: Counter[str] = field(default_factory=Counter)
    is_up: bool = True
    answers: threading.Event = field(default_factory=_set_event)
    """Cleared, it hangs."""
    named: str = ""
    """The issuer of the discovery document, where it isn't this one."""

    @property
    def settings(self) -> dict[str, str]:
        """As an endpoint has them."""
        return {"issuer": self.url, "audience": AUDIENCE}

    def claims(self, name: str, **more: Any) -> dict[str, Any]:
        """A good token's claims, valid for a minute; None removes one."""
        now = int(time.time())
        every = {"iss": self.url, "aud": AUDIENCE, "sub": "1", "email": name, "iat": now, "exp": now + 60}
        return {claim: value for claim, value in {**every, **more}.items() if value is not None}

    def sign(
        self, name: str, *, kid: str | None = "rsa", key: Any = None, algorithm: str = "", **more: Any
    ) -> str:
        """A token for `name`, by default signed with the published key of that id."""
        key = key or self.keys[kid or "rsa"]
        algorithm = algorithm or ("RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256")
        headers = {} if kid is None else {"kid": kid}
        return jwt.encode(self.claims(name, **more), key, algorithm, headers)

    def sign_with_public_key(self, name: str) -> str:
        """HS256 with the public key's text as the secret, which naive verifiers take. By hand: PyJWT refuses
        to sign so."""
        import base64
        import hashlib
        import hmac

        def encode(data: bytes) -> bytes:
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        head = encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).encode())
        body = head + b"." + encode(json.dumps(self.claims(name)).encode())
        return (body + b"." + encode(hmac.digest(pem, body, hashlib.sha256))).decode()

    def document(self, path: str) -> Any:
        """What a path answers; None for 404."""
        match path:
            case "/.well-known/openid-configuration":
                return {"issuer": self.named or self.url, "jwks_uri": f"{self.url}/keys"}
            case "/keys":
                return {"keys": [_jwk(kid, key) for kid, key in self.keys.items()]}
        return None


def _jwk(kid: str, key: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}


@contextmanager
def serving_issuer() -> Iterator[LoopbackIssuer]:
    """An issuer that answers until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests[self.path] += 1
            issuer.answers.wait(60)
            document = issuer.document(self.path)
            body = json.dumps(document).encode()
            self.send_response(503 if not issuer.is_up else 404 if document is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = LoopbackIssuer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
