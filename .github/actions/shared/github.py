"""GitHub for the actions: the job, its outputs, and the API for comments, artifacts and issues.

All settings come from `GITHUB_*` and from the inputs that `action.yml` passes as `LAC_*`. Nothing builds
shell commands, and no token is ever printed.
"""

from __future__ import annotations

import io
import json
import os
import ssl
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

ATTEMPTS = 4
TIMEOUT = 30.0
PATIENCE = 120.0
"""The longest wait for GitHub's rate limit, in seconds: jobs are paid by the minute."""
MAX_BODY = 65_536
"""GitHub's limit for the characters of a comment or an issue."""
MAX_BYTES = 256 * 1024 * 1024
"""The size limit of an artifact, which is also that of a plan."""
TRUSTED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""The authors, besides bots, whose comments count as ours: anybody can write a comment with the marker."""


class ActionError(Exception):
    """An error that ends the step; its text is printed. `status`: of GitHub's response, if it is one."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Job:
    """The job of a step. `event`: GitHub's description of its trigger."""

    environ: Mapping[str, str]
    event: Mapping[str, Any]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Job:
        path = environ.get("GITHUB_EVENT_PATH", "")
        event = json.loads(Path(path).read_text(encoding="utf-8")) if path and os.path.isfile(path) else {}
        return cls(environ, event)

    def input(self, name: str, default: str = "") -> str:
        """An input of the action."""
        return self.environ.get(f"LAC_{name.upper().replace('-', '_')}", "").strip() or default

    def is_on(self, name: str) -> bool:
        """An input that is `true` or `false`. ActionError for anything else."""
        text = self.input(name, "true").lower()
        if text not in ("true", "false"):
            raise ActionError(f"`{name}` must be true or false.")
        return text == "true"

    @property
    def repository(self) -> str:
        return self.environ["GITHUB_REPOSITORY"]

    @property
    def pull_request(self) -> Mapping[str, Any] | None:
        """The event's pull request, if it has one."""
        request = self.event.get("pull_request")
        return request if isinstance(request, Mapping) else None

    def output(self, **values: str) -> None:
        """The step's outputs. Values may have several lines."""
        with open(self.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as file:
            for name, value in values.items():
                end = f"end-{uuid4()}"
                file.write(f"{name.replace('_', '-')}<<{end}\n{value}\n{end}\n")

    def summarize(self, markdown: str) -> None:
        """The text on the job's page. GitHub shows 1 MiB of it at most."""
        path = self.environ.get("GITHUB_STEP_SUMMARY")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(markdown + "\n")


@dataclass(frozen=True, slots=True)
class Api:
    """GitHub's REST API for one repository."""

    base: str
    repository: str
    token: str

    @classmethod
    def of(cls, job: Job) -> Api:
        token = job.input("token")
        if not token:
            raise ActionError("No token: pass `token`, or omit it to use the default.")
        return cls(job.environ.get("GITHUB_API_URL", "https://api.github.com"), job.repository, token)

    def __repr__(self) -> str:
        return f"Api({self.base!r}, {self.repository!r})"

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request below the repository. ActionError with GitHub's message if it fails."""
        return _read(self._send(method, f"{self.base}/repos/{self.repository}/{path}", body))

    def pages(self, path: str) -> Iterator[Any]:
        """The items of a list, over all of its pages."""
        url: str | None = f"{self.base}/repos/{self.repository}/{path}"
        while url:
            answer = self._send("GET", url, None)
            page = _read(answer)
            yield from page if isinstance(page, list) else page.get("artifacts", [])
            after = answer.links.get("next", {}).get("url")
            # the token must not go to another host
            url = after if after and after.startswith(f"{self.base}/") else None

    def artifact(self, number: int, member: str) -> bytes:
        """One file of an artifact. A redirect to another host gets no token."""
        first = self._send("GET", f"{self.base}/repos/{self.repository}/actions/artifacts/{number}/zip", None)
        data = first.content
        if first.is_redirect:
            data = _fetch(first.headers["location"])
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                info = archive.getinfo(member)
                if info.file_size > MAX_BYTES:
                    raise ActionError(f"The artifact's `{member}` is too large.")
                return archive.read(info)
        except (zipfile.BadZipFile, KeyError):
            raise ActionError(f"The artifact has no `{member}`.") from None

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None) -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = httpx.request(
                    method, url, json=body, headers=headers, timeout=TIMEOUT, verify=_certificates()
                )
            except httpx.HTTPError as error:
                refusal = ActionError(f"GitHub is unreachable: {type(error).__name__}.")
                # a POST may have been executed: repeating it could create a second object
                wait = None if method == "POST" else pause(attempt)
            else:
                if answer.is_success or answer.is_redirect:
                    return answer
                refusal = ActionError(_refusal(method, answer), answer.status_code)
                wait = _wait(method, attempt, answer)
            if wait is None or attempt == ATTEMPTS:
                raise refusal
            time.sleep(wait)
        raise AssertionError("unreachable")

    # --- comments and issues

    def comment(self, number: int, marker: str, body: str, *, news: bool = True) -> str:
        """Write the comment with this marker on a pull request or an issue; its URL, or nothing. An existing
        comment is updated (all of them, if concurrent jobs created several); without `news`, none is new."""
        text = f"{marker}\n{body}"[:MAX_BODY]
        comments = self.pages(f"issues/{number}/comments?per_page=100")
        ids = [comment["id"] for comment in comments if _is_ours(comment, marker)]
        updates = [self._update(f"issues/comments/{id_}", text) for id_ in ids]
        first = next(filter(None, updates), None)
        if first is None and news:
            first = self.call("POST", f"issues/{number}/comments", {"body": text})
        return str(first["html_url"]) if first else ""

    def _update(self, path: str, text: str) -> Any | None:
        """The updated comment; None if it was deleted meanwhile."""
        try:
            return self.call("PATCH", path, {"body": text})
        except ActionError as error:
            if error.status == 404:
                return None
            raise

    def issue(self, marker: str) -> Mapping[str, Any] | None:
        """The oldest open issue with this marker, whatever its labels: people may change them."""
        issues = [
            issue
            for issue in self.pages("issues?state=open&per_page=100")
            if "pull_request" not in issue and _is_ours(issue, marker)
        ]
        return min(issues, key=lambda issue: int(issue["number"]), default=None)


def _is_ours(item: Mapping[str, Any], marker: str) -> bool:
    by_bot = item.get("user", {}).get("type") == "Bot"
    is_trusted = by_bot or item.get("author_association") in TRUSTED
    return is_trusted and str(item.get("body") or "").startswith(marker)


@cache
def _certificates() -> ssl.SSLContext:
    """The trusted certificates; read once, because that takes longer than a request."""
    return httpx.create_ssl_context()


def _read(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise ActionError(f"The response of {answer.request.url.host} isn't from GitHub's API.") from None


def _wait(method: str, attempt: int, answer: httpx.Response) -> float | None:
    """Seconds until the next attempt; None for no other attempt."""
    limited = answer.status_code == 429 or (
        answer.status_code == 403 and ("rate limit" in answer.text.lower() or "retry-after" in answer.headers)
    )
    if not limited:
        # GitHub fails sometimes; a POST may have been executed nonetheless
        return pause(attempt) if answer.status_code >= 500 and method != "POST" else None
    retry_after = answer.headers.get("retry-after", "")
    reset = answer.headers.get("x-ratelimit-reset", "")
    if retry_after.isdecimal():
        seconds = float(retry_after)
    elif answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        seconds = max(0.0, int(reset) - time.time())
    else:
        # GitHub asks for at least a minute, and longer each time
        seconds = 30 * pause(attempt)
    return seconds if seconds <= PATIENCE else None


def pause(attempt: int) -> float:
    """Seconds before the next attempt."""
    return float(os.environ.get("LAC_RETRY_SECONDS", "2")) * float(2 ** (attempt - 1))


def _refusal(method: str, answer: httpx.Response) -> str:
    try:
        message = str(answer.json().get("message", ""))
    except (ValueError, AttributeError):
        message = ""
    hint = " Check the permissions of the job's token." if answer.status_code == 403 else ""
    request = f"{method} {answer.request.url.path}"
    return f"GitHub responds to {request} with status {answer.status_code}: {message[:200]}.{hint}"


def _fetch(url: str) -> bytes:
    try:
        with httpx.stream(
            "GET", url, timeout=TIMEOUT, verify=_certificates(), follow_redirects=True
        ) as answer:
            if not answer.is_success:
                raise ActionError(f"The artifact's host responds with status {answer.status_code}.")
            data = bytearray()
            for part in answer.iter_bytes():
                data += part
                if len(data) > MAX_BYTES:
                    raise ActionError("The artifact is too large.")
            return bytes(data)
    except httpx.HTTPError as error:
        raise ActionError(f"Downloading the artifact failed: {type(error).__name__}.") from None
