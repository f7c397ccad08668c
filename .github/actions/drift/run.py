"""Drift on a schedule: one issue is opened or kept up to date while there is some, and closed when there is
none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shared"))

from github import ActionError, Api, Job
from lac import MAX_COMMENT, Lac, fenced, step, tag, title

LABEL = "lac-drift"


def drift(job: Job) -> int:
    """The step. Exits with 0 for no drift, with 2 for some where `fail-on-drift` is set, with 1 where it
    couldn't be told."""
    ran = Lac(job).run("drift")
    text = ran.out.strip()
    job.summarize(f"### {title('Drift', job)}\n\n{fenced(text or ran.err.strip(), 100_000)}")
    if ran.code not in (0, 2):
        job.output(drift="unknown", issue="")
        raise ActionError("`lac drift` failed; its message is in the log. The issue stays as it is.")
    found = ran.code == 2
    number = keep(job, text) if found else close(job)
    job.output(drift=str(found).lower(), issue=number)
    return 2 if found and job.is_on("fail-on-drift") else 0


def keep(job: Job, text: str) -> str:
    """Open the issue, or bring it up to date. Its number."""
    if not job.is_on("issue"):
        return ""
    api, marker = Api.of(job), tag("lac drift", job)
    told = fenced(text, MAX_COMMENT - 2_000)
    body = f"{marker}\nSomething changed outside of the manifests.\n\n{told}\n\n{_run(job)}"
    present = api.issue(marker, LABEL)
    if present is None:
        made = api.call("POST", "issues", {"title": title("Drift", job), "body": body, "labels": [LABEL]})
        return str(made["number"])
    number = str(present["number"])
    # the same drift again is no news
    if _told(str(present.get("body") or "")) != _told(body):
        api.call("PATCH", f"issues/{number}", {"body": body})
    return number


def close(job: Job) -> str:
    """Close the issue, if there is one. Its number."""
    if not job.is_on("issue"):
        return ""
    api, marker = Api.of(job), tag("lac drift", job)
    present = api.issue(marker, LABEL)
    if present is None:
        return ""
    number = str(present["number"])
    api.call("POST", f"issues/{number}/comments", {"body": f"Nothing differs any more. {_run(job)}"})
    api.call("PATCH", f"issues/{number}", {"state": "closed", "state_reason": "completed"})
    return number


def _told(body: str) -> str:
    """A body without the run that wrote it."""
    return body.rpartition("\n\n")[0].strip()


def _run(job: Job) -> str:
    at = "/".join(job.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    return f"<sub>[run]({at}/actions/runs/{job.environ.get('GITHUB_RUN_ID', '')})</sub>"


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(drift)
