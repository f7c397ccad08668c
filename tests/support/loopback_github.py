"""GitHub's REST API on loopback, as far as the actions ask for it: comments, issues, pulls, artifacts.

It holds what it is told, refuses what has no token, and pages its lists. Artifacts are given from another
address, which refuses to see the token, as GitHub's store of them does.
"""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghs_" + "t" * 36
REPOSITORY = "acme/models"
PAGE = 2


@dataclass(frozen=True)
class Failure:
    """What it answers once in the place of what was asked for."""

    method: str
    code: int
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class GitHub:
    """What it holds. `failures`: answers to give before anything else, by method; `deleted`: comments that
    are gone once they were listed; `unlinked`: how often a commit has no pull request yet; `unlabelled`: the
    token may make no label; `html`: a proxy answers in its place."""

    address: str = ""
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    issues: list[dict[str, Any]] = field(default_factory=list)
    pulls: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    files: dict[int, bytes] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    deleted: set[int] = field(default_factory=set)
    unlinked: int = 0
    unlabelled: bool = False
    html: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    read_only: bool = False
    _ids: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def says(
        self, number: int, body: str, *, kind: str = "User", association: str = "NONE"
    ) -> dict[str, Any]:
        """Somebody comments."""
        made = self._written(body, kind, association)
        self.comments.setdefault(number, []).append(made)
        return made

    def keep(
        self,
        name: str,
        data: bytes,
        head_sha: str,
        *,
        fork: bool = False,
        expired: bool = False,
        member: str = "lac.plan",
    ) -> None:
        """A run uploads an artifact."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(member, data)
        number = next(self._ids)
        self.files[number] = archive.getvalue()
        run = {"head_sha": head_sha, "repository_id": 1, "head_repository_id": 2 if fork else 1}
        made = f"2026-11-24T10:00:{number:02}Z"
        self.artifacts.append(
            {"id": number, "name": name, "expired": expired, "created_at": made, "workflow_run": run}
        )

    def _written(self, body: str, kind: str = "Bot", association: str = "NONE") -> dict[str, Any]:
        number = next(self._ids)
        return {
            "id": number,
            "number": number,
            "body": body,
            "user": {"type": kind},
            "author_association": association,
            "html_url": f"{self.address}/written/{number}",
            "state": "open",
        }

    # --- answers

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """One request below the repository."""
        if method != "GET" and self.read_only:
            return 403, {"message": "Resource not accessible by integration"}
        match method, path.split("/"):
            case "GET", ["issues", number, "comments"]:
                return 200, self.comments.get(int(number), [])
            case "POST", ["issues", number, "comments"]:
                made = self._written(body["body"])
                self.comments.setdefault(int(number), []).append(made)
                return 201, made
            case "PATCH", ["issues", "comments", number] if int(number) not in self.deleted:
                found = next(c for said in self.comments.values() for c in said if c["id"] == int(number))
                return 200, self._changed(found, body)
            case "GET", ["issues"]:
                return 200, [i for i in self.issues if i["state"] == "open"]
            case "POST", ["issues"]:
                made = self._written(body["body"]) | {"title": body["title"], "labels": []}
                self.issues.append(made)
                return 201, made
            case "POST", ["issues", _, "labels"] if self.unlabelled:
                return 403, {"message": "You do not have permission to create labels on this repository."}
            case "POST", ["issues", number, "labels"]:
                found = next(i for i in self.issues if i["number"] == int(number))
                found["labels"] += body["labels"]
                return 200, found["labels"]
            case "PATCH", ["issues", number]:
                return 200, self._changed(next(i for i in self.issues if i["number"] == int(number)), body)
            case "GET", ["commits", _, "pulls"] if self.unlinked > 0:
                self.unlinked -= 1
                return 200, []
            case "GET", ["commits", sha, "pulls"]:
                return 200, self.pulls.get(sha, [])
            case "GET", ["actions", "artifacts"]:
                named = [a for a in self.artifacts if a["name"] == query["name"][0]]
                return 200, {"total_count": len(named), "artifacts": named}
        return 404, {"message": "Not Found"}

    @staticmethod
    def _changed(found: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        found.update(body)
        return found


class _Handler(BaseHTTPRequestHandler):
    github: GitHub

    def _serve(self) -> None:
        if self.github.html:
            return self._bytes(b"<html>Sign in</html>")
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.github.asked.append((self.command, self.path))
        if parts.path.startswith("/blobs/"):
            # as a store of files does that is no part of GitHub's API
            if self.headers.get("Authorization"):
                return self._send(400, {"message": "a token was sent elsewhere"})
            return self._bytes(self.github.files[int(parts.path.rpartition("/")[2])])
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"message": "Bad credentials"})
        if self.github.failures and self.github.failures[0].method == self.command:
            failure = self.github.failures.pop(0)
            return self._send(failure.code, {"message": failure.message}, headers=failure.headers)
        path = parts.path.removeprefix(f"/repos/{REPOSITORY}/")
        if found := re.fullmatch(r"actions/artifacts/(\d+)/zip", path):
            self.send_response(302)
            self.send_header("Location", f"{self.github.address}/blobs/{found[1]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        query = parse_qs(parts.query)
        code, answer = self.github.answer(self.command, path, query, body)
        return self._send(code, answer, page=int(query.get("page", ["1"])[0]))

    def _send(self, code: int, answer: Any, page: int = 1, headers: dict[str, str] | None = None) -> None:
        links = dict(headers or {})
        if isinstance(answer, list):
            if page * PAGE < len(answer):
                joint = "&" if "?" in self.path else "?"
                url = (
                    f"{self.github.address}{re.sub(r'[?&]page=[0-9]+', '', self.path)}{joint}page={page + 1}"
                )
                links["Link"] = f'<{url}>; rel="next"'
            answer = answer[(page - 1) * PAGE : page * PAGE]
        self._bytes(json.dumps(answer).encode(), code, links)

    def _bytes(self, data: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - as http.server calls them

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@contextmanager
def github() -> Iterator[GitHub]:
    """It runs until the end of the block."""
    held = GitHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"github": held}))
    held.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
