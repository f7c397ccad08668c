"""A Ray on loopback that says that all is well, and keeps every body that it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lifecycle_as_code.stores.ray.apps import revision
from support.fake_cluster import Paper


@dataclass
class LoopbackRay:
    """`refusing`: a status to answer everything with, and what was sent repeated, as a careless gateway
    does."""

    port: int = 0
    paper: Paper = field(default_factory=Paper)
    bodies: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    refusing: int = 0

    def answer(self, method: str, path: str, body: str, headers: str) -> tuple[int, str, dict[str, str]]:
        """What to say to one request."""
        self.headers.append(headers)
        if self.refusing:
            return self.refusing, f"refused:\n{headers}", {}
        if method == "PUT":
            self.bodies.append(body)
            self.paper._put(json.loads(body))
        if path.endswith("/ping"):
            ingress = self.paper.apps[f"lac.{path.split('/')[2]}"]
            return 200, "{}", {"X-Endpoint-Revision": revision(ingress)}
        return 200, json.dumps({} if path.startswith("/nodes") else self.paper._get(path)), {}


@contextmanager
def loopback_ray() -> Iterator[LoopbackRay]:
    """One that listens on a free port until the block ends."""
    ray = LoopbackRay()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, said, headers = ray.answer(self.command, self.path, body, str(self.headers))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(said.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.encode())

        do_GET = do_PUT = _any  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as there
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        ray.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ray
        finally:
            server.shutdown()
            thread.join()
