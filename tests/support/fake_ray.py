"""A Ray Serve on paper that outlives whoever talks to it: its REST API, and what endpoints answer.

The part of the API that `stores.ray` uses, with `Paper`'s logic: a PUT is done at once.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.stores.ray.apps import ROUTE, primary_args, revision
from lifecycle_as_code.stores.ray.client import APPLICATIONS
from support.fake_cluster import Paper


class PaperRay:
    """The server, and the apps that it holds."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.paper = Paper()

    @property
    def serve(self) -> Serve:
        """As `serve:` in lac.yaml would name it."""
        return Serve(local=False, address=self.address, data_address=self.address)

    def answer(self, path: str) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON for a GET."""
        match unquote(path).removeprefix(ROUTE).strip("/").split("/"):
            case ["nodes?view=summary"]:
                return 200, {}, {"data": {"nodeLogicalResources": {"node": "0.0/8.0 CPU"}}}
            case [endpoint, "ping"] if config := self.paper.apps.get(f"lac.{endpoint}"):
                return (
                    200 if any(row["weight"] for row in self._table(config)) else 404,
                    {"X-Endpoint-Revision": revision(config)},
                    {},
                )
            case [endpoint, "served-entities", name, "ping"] if config := self.paper.apps.get(
                f"lac.{endpoint}"
            ):
                rows = [row for row in self._table(config) if name in (row["name"], row["app"])]
                running = {*self.paper.apps, primary_args(config).get("app")}
                # a model at a provider has no app
                up = all(row["app"] in running or "external_model" in row for row in rows)
                return 200 if rows and up else 404, {}, {}
            case _ if path == APPLICATIONS:
                return 200, {}, self.paper._get(path)
        return 404, {}, {}

    @staticmethod
    def _table(config: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = config["deployments"][0]["user_config"]["targets"]
        return rows


@contextmanager
def paper_ray() -> Iterator[PaperRay]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._reply(*ray.answer(self.path))

        def do_PUT(self) -> None:
            ray.paper._put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._reply(200, {}, {})

        def _reply(self, status: int, headers: dict[str, str], content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Whoever asked was killed."""

    server = Server(("127.0.0.1", 0), Handler)
    ray = PaperRay(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield ray
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
