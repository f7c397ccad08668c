"""Drift on a schedule: one issue is opened or kept up to date while there is some, and closed when there is
none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shared"))

from github import ActionError, Api, Job
from lac import Lac, fenced, log, run_link, step, warn
from subject import Subject

LABEL = "lac-drift"


def drift(job: Job) -> int:
    """The step. Exits with 0 for no drift, with 2 for some where `fail-on-drift` is set, with 1 where it
    couldn't be told."""
    fails, keeps, subject = job.is_on("fail-on-drift"), job.is_on("issue"), Subject.of(job)
    ran = Lac(job).run("drift", "--markdown")
    log(ran.out)
    log(ran.err)
    text = ran.out.strip() or fenced(ran.err.strip(), 20_000)
    job.summarize(f"### {subject.title('Drift')}\n\n{text}")
    if ran.code not in (0, 2):
        job.output(drift="unknown", issue="")
        raise ActionError("`lac drift` failed; its message is in the log. The issue stays as it is.")
    found = ran.code == 2
    # known, whatever becomes of the issue
    job.output(drift=str(found).lower(), issue="")
    if keeps:
        job.output(issue=keep(job, subject, text) if found else close(job, subject))
    return 2 if found and fails else 0


def keep(job: Job, subject: Subject, text: str) -> str:
    """Open the issue, or bring it up to date. Its number."""
    api, marker = Api.of(job), subject.marker("lac drift")
    body = f"{marker}\n{text}\n\n<sub>{run_link(job)}</sub>"
    present = api.issue(marker)
    if present is None:
        number = str(api.call("POST", "issues", {"title": subject.title("Drift"), "body": body})["number"])
        try:
            api.call("POST", f"issues/{number}/labels", {"labels": [LABEL]})
        except ActionError as error:
            # not every token may make a label
            warn(f"The issue has no label `{LABEL}`. {error}")
        return number
    number = str(present["number"])
    # the same drift again is no news
    if _told(str(present.get("body") or "")) != _told(body):
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
        {"body": f"Nothing differs any more, as this {run_link(job)} found."},
    )
    api.call("PATCH", f"issues/{number}", {"state": "closed", "state_reason": "completed"})
    return number


def _told(body: str) -> str:
    """A body without the run that wrote it."""
    return body.rpartition("\n\n")[0].strip()


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(drift)
