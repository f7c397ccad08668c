"""Plan a pull request: the plan in the job's log and summary, annotations on the manifests, one comment that
is updated, and the sealed plan as a file for the artifact.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shared"))

from github import ActionError, Api, Job
from lac import Lac, Result, fence, log, run_link, step, warn
from subject import Subject


def plan(job: Job) -> int:
    """The step. Exits with 1 if planning failed or a policy denies the plan."""
    # a new one: a job may plan several stacks
    folder = Path(tempfile.mkdtemp(prefix="lac-plan-", dir=job.environ.get("RUNNER_TEMP")))
    file = folder / "lac.plan"
    lac, subject, sha = Lac(job), Subject.of(job), head(job)
    result = lac.run("plan", "-o", str(file), "--no-input", "--github")
    print(result.out, flush=True)
    log(result.err)
    status = read_status(result, file)
    if status is None:
        text = f"**Planning failed.**\n\n{fence(result.err.strip(), 20_000)}"
        job.output(changes="unknown", denied="unknown", plan="", folder="", artifact="")
    else:
        denied, differs = status
        log(show(lac, file))
        text = show(lac, file, "--markdown")
        (folder / "plan.md").write_text(text, encoding="utf-8")
        (folder / "plan.html").write_text(show(lac, file, "--html"), encoding="utf-8")
        job.output(
            changes=str(differs).lower(),
            denied=str(denied).lower(),
            plan=str(file),
            folder=str(folder),
            artifact=subject.artifact(sha),
        )
    body = f"### {subject.title('Plan')}\n\n{text}\n\n<sub>Commit {sha[:12]}, {run_link(job)}</sub>"
    job.summarize(body)
    news = status is None or any(status)
    job.output(comment=comment(job, subject, body, news=news))
    return 1 if status is None or denied else 0


def read_status(result: Result, file: Path) -> tuple[bool, bool] | None:
    """Whether a policy denies the plan, and whether it has changes. None if there is no plan, or `lac` failed
    after writing one."""
    if not file.is_file():
        return None
    plan = json.loads(file.read_bytes())["plan"]
    denied = any(verdict["outcome"] == "denied" for verdict in plan["review"]["verdicts"])
    if result.code != 0 and not denied:
        return None
    return denied, bool(plan["summary"]["difference"])


def show(lac: Lac, file: Path, *view: str) -> str:
    """The plan in one of its views. ActionError if `lac show` fails."""
    result = lac.run("show", *view, str(file))
    if result.code != 0:
        log(result.err)
        raise ActionError("`lac show` failed; its message is in the log.")
    return result.out


def head(job: Job) -> str:
    """The reviewed commit: the pull request's head, not GitHub's test merge."""
    request = job.pull_request
    return str(request["head"]["sha"]) if request else job.environ.get("GITHUB_SHA", "")


def comment(job: Job, subject: Subject, body: str, *, news: bool) -> str:
    """Update the pull request's comment; a warning if the token isn't allowed to (a fork's)."""
    request = job.pull_request
    if request is None or not job.is_on("comment"):
        return ""
    try:
        return Api.of(job).comment(int(request["number"]), subject.marker("lac plan"), body, news=news)
    except ActionError as error:
        warn(f"The pull request's comment couldn't be written. {error}")
        return ""


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(plan)
