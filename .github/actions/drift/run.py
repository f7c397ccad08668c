"""Drift on a schedule: open or update one issue while there is drift, and close it when there is none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shared"))

from github import ActionError, Api, Job
from lac import Lac, fence, log, run_link, step, warn
from subject import Subject

LABEL = "lac-drift"


def drift(job: Job) -> int:
    """The step. Exits with 0 for no drift, with 2 for drift if `fail-on-drift` is set, with 1 if
    `lac` failed."""
    fails, keeps, subject = job.is_on("fail-on-drift"), job.is_on("issue"), Subject.of(job)
    result = Lac(job).run("drift", "--markdown")
    log(result.out)
    log(result.err)
    text = result.out.strip() or fence(result.err.strip(), 20_000)
    job.summarize(f"### {subject.title('Drift')}\n\n{text}")
    if result.code not in (0, 2):
        job.output(drift="unknown", issue="")
        raise ActionError("`lac drift` failed; its message is in the log. The issue was not changed.")
    has_drift = result.code == 2
    # set before the issue, which may fail
    job.output(drift=str(has_drift).lower(), issue="")
    if keeps:
        job.output(issue=keep(job, subject, text) if has_drift else close(job, subject))
    return 2 if has_drift and fails else 0


def keep(job: Job, subject: Subject, text: str) -> str:
    """Open or update the issue. Its number."""
    api, marker = Api.of(job), subject.marker("lac drift")
    body = f"{marker}\n{text}\n\n<sub>{run_link(job)}</sub>"
    present = api.issue(marker)
    if present is None:
        number = str(api.call("POST", "issues", {"title": subject.title("Drift"), "body": body})["number"])
        try:
            api.call("POST", f"issues/{number}/labels", {"labels": [LABEL]})
        except ActionError as error:
            # not every token can create a label
            warn(f"The issue has no label `{LABEL}`. {error}")
        return number
    number = str(present["number"])
    # equal drift is not an update
    if _content(str(present.get("body") or "")) != _content(body):
        api.call("PATCH", f"issues/{number}", {"body": body})
    return number


def close(job: Job, subject: Subject) -> str:
    """Close the issue, if there is one. Its number."""
    api = Api.of(job)
    present = api.issue(subject.marker("lac drift"))
    if present is None:
        return ""
    number = str(present["number"])
    api.call(
        "POST",
        f"issues/{number}/comments",
        {"body": f"No drift any more, according to this {run_link(job)}."},
    )
    api.call("PATCH", f"issues/{number}", {"state": "closed", "state_reason": "completed"})
    return number


def _content(body: str) -> str:
    """A body without the run that wrote it."""
    return body.rpartition("\n\n")[0].strip()


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(drift)
