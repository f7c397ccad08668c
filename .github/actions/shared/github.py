"""What the actions ask of GitHub: where they run, what they answer, comments, artifacts and issues.

Everything comes from `GITHUB_*` and the inputs that `action.yml` passes as `LAC_*`; nothing is put together
into shell commands, and no token is ever printed.
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
"""Seconds that a limit of GitHub's is waited for; a job that costs by the minute doesn't wait an hour."""
MAX_BODY = 65_536
"""The characters of a comment or an issue that GitHub takes."""
MAX_BYTES = 256 * 1024 * 1024
"""The largest artifact that is read; a plan isn't larger either."""
TRUSTED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""Whose comments may carry our marker, bots aside: anybody can write a comment."""


class ActionError(Exception):
    """Something that ends the step; its text is for people. `status`: GitHub's answer, where it was one."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Job:
    """Where a step runs. `event`: what set it off, as GitHub describes it."""

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
        said = self.input(name, "true").lower()
        if said not in ("true", "false"):
            raise ActionError(f"`{name}` should be true or false.")
        return said == "true"

    @property
    def repository(self) -> str:
        return self.environ["GITHUB_REPOSITORY"]

    @property
    def pull_request(self) -> Mapping[str, Any] | None:
        """The pull request that the event is about, if it is about one."""
        found = self.event.get("pull_request")
        return found if isinstance(found, Mapping) else None

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
            raise ActionError("There is no token: pass `token`, or leave it to its default.")
        return cls(job.environ.get("GITHUB_API_URL", "https://api.github.com"), job.repository, token)

    def __repr__(self) -> str:
        return f"Api({self.base!r}, {self.repository!r})"

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request below the repository. ActionError with GitHub's own words where it is refused."""
        return _read(self._send(method, f"{self.base}/repos/{self.repository}/{path}", body))

    def pages(self, path: str) -> Iterator[Any]:
        """The items of a list, over all of its pages."""
        url: str | None = f"{self.base}/repos/{self.repository}/{path}"
        while url:
            answer = self._send("GET", url, None)
            found = _read(answer)
            yield from found if isinstance(found, list) else found.get("artifacts", [])
            after = answer.links.get("next", {}).get("url")
            # the token goes nowhere else
            url = after if after and after.startswith(f"{self.base}/") else None

    def artifact(self, number: int, member: str) -> bytes:
        """One file of an artifact. Where GitHub sends us elsewhere for it, the token stays here."""
        first = self._send("GET", f"{self.base}/repos/{self.repository}/actions/artifacts/{number}/zip", None)
        data = first.content
        if first.is_redirect:
            data = _fetched(first.headers["location"])
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                info = archive.getinfo(member)
                if info.file_size > MAX_BYTES:
                    raise ActionError(f"The artifact's `{member}` is too large.")
                return archive.read(info)
        except (zipfile.BadZipFile, KeyError):
            raise ActionError(f"The artifact holds no `{member}`.") from None

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
                refusal = ActionError(f"GitHub can't be reached: {type(error).__name__}.")
                # what may have been done isn't done again, where twice isn't the same as once
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
        """Write the comment of this marker on a pull request or an issue. The present one is changed; each of
        them, where two jobs at once made one each: none may tell what was. What is no `news` is only written
        over what was. Its address, or nothing."""
        text = f"{marker}\n{body}"[:MAX_BODY]
        present = [
            found for found in self.pages(f"issues/{number}/comments?per_page=100") if _ours(found, marker)
        ]
        written = [self._changed(f"issues/comments/{found['id']}", text) for found in present]
        first = next(filter(None, written), None)
        if first is None and news:
            first = self.call("POST", f"issues/{number}/comments", {"body": text})
        return str(first["html_url"]) if first else ""

    def _changed(self, path: str, text: str) -> Any | None:
        """The comment as it is now; None where somebody deleted it meanwhile."""
        try:
            return self.call("PATCH", path, {"body": text})
        except ActionError as error:
            if error.status == 404:
                return None
            raise

    def issue(self, marker: str) -> Mapping[str, Any] | None:
        """The open issue of this marker; the oldest, should there be several. Looked for among all: what
        labels it has is for people to decide."""
        found = [
            issue
            for issue in self.pages("issues?state=open&per_page=100")
            if "pull_request" not in issue and _ours(issue, marker)
        ]
        return min(found, key=lambda issue: int(issue["number"]), default=None)


def _ours(written: Mapping[str, Any], marker: str) -> bool:
    by_bot = written.get("user", {}).get("type") == "Bot"
    trusted = by_bot or written.get("author_association") in TRUSTED
    return trusted and str(written.get("body") or "").startswith(marker)


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust; read once, for that takes longer than a request."""
    return httpx.create_ssl_context()


def _read(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise ActionError(f"What answers at {answer.request.url.host} isn't GitHub's API.") from None


def _wait(method: str, attempt: int, answer: httpx.Response) -> float | None:
    """Seconds until the request is worth another try; None where it isn't."""
    limited = answer.status_code == 429 or (
        answer.status_code == 403 and ("rate limit" in answer.text.lower() or "retry-after" in answer.headers)
    )
    if not limited:
        # GitHub fails now and then; whether a POST was done isn't known then
        return pause(attempt) if answer.status_code >= 500 and method != "POST" else None
    said = answer.headers.get("retry-after", "")
    reset = answer.headers.get("x-ratelimit-reset", "")
    if said.isdecimal():
        seconds = float(said)
    elif answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        seconds = max(0.0, int(reset) - time.time())
    else:
        # GitHub: at least a minute, and longer each time
        seconds = 30 * pause(attempt)
    return seconds if seconds <= PATIENCE else None


def pause(attempt: int) -> float:
    """Seconds before the next attempt."""
    return float(os.environ.get("LAC_RETRY_SECONDS", "2")) * float(2 ** (attempt - 1))


def _refusal(method: str, answer: httpx.Response) -> str:
    try:
        said = str(answer.json().get("message", ""))
    except (ValueError, AttributeError):
        said = ""
    refused = answer.status_code == 403
    hint = " Does the job have the permissions that the action's inputs name?" if refused else ""
    return f"GitHub answers {answer.status_code} to {method} {answer.request.url.path}: {said[:200]}.{hint}"


def _fetched(url: str) -> bytes:
    try:
        with httpx.stream(
            "GET", url, timeout=TIMEOUT, verify=_certificates(), follow_redirects=True
        ) as answer:
            if not answer.is_success:
                raise ActionError(f"The artifact's store answers {answer.status_code}.")
            data = bytearray()
            for part in answer.iter_bytes():
                data += part
                if len(data) > MAX_BYTES:
                    raise ActionError("The artifact is too large.")
            return bytes(data)
    except httpx.HTTPError as error:
        raise ActionError(f"The artifact can't be fetched: {type(error).__name__}.") from None
