"""Apply on merge: exactly the plan that was reviewed in the pull request, or nothing.

The plan is the artifact of the pull request's last commit. `lac` refuses it if its seal is broken, or if the
merged manifests or live state have changed since the plan was made.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shared"))

from github import ATTEMPTS, ActionError, Api, Job, pause
from lac import Lac, Result, fail, fence, log, run_link, step, warn
from subject import Subject

OUTCOMES: Mapping[str, str] = {
    "stale-plan": "stale",
    "plan-already-applied": "stale",
    "plan-mismatch": "stale",
    "manifests-changed": "stale",
    "policy-denied": "denied",
    "plan-altered": "refused",
    "plan-unsigned": "refused",
    "plan-key-missing": "refused",
    "another-stacks-plan": "refused",
    "other-plan-version": "refused",
}
"""The outcome by the error's code; any other code is `failed`."""

RETRY = "To make a new plan, open a pull request that changes the stack, such as a comment in a manifest."
"""The way out: running the job again doesn't help, because a plan is applied only once."""

WORDS: Mapping[str, str] = {
    "applied": "Applied exactly the reviewed plan.",
    "missing": f"**Nothing was applied: there is no plan.** {RETRY}",
    "stale": f"**Nothing was applied: the plan is stale.** {RETRY}",
    "denied": f"**Nothing was applied: a policy denies the plan.** {RETRY}",
    "refused": f"**Nothing was applied: the plan can't be trusted.** {RETRY}",
    "failed": f"**The apply failed.** Completed changes are recorded. {RETRY}",
}


def apply(job: Job) -> int:
    """The step. Exits with 1 unless the whole plan was applied."""
    api, subject = Api.of(job), Subject.of(job)
    request = find_request(api, job.environ["GITHUB_SHA"])
    outcome, output, news = apply_plan(api, job, subject, request)
    job.output(outcome=outcome, pull_request=str(request["number"]))
    block = fence(output.strip(), 40_000)
    body = f"### {subject.title('Apply')}\n\n{WORDS[outcome]}\n\n{block}\n\n<sub>{run_link(job)}</sub>"
    job.summarize(body)
    if job.is_on("comment"):
        try:
            api.comment(int(request["number"]), subject.marker("lac apply"), body, news=news)
        except ActionError as error:
            warn(f"The pull request's comment couldn't be written. {error}")
    return 0 if outcome == "applied" else 1


def apply_plan(api: Api, job: Job, subject: Subject, request: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Apply the reviewed plan: the outcome, the output, and whether to comment."""
    try:
        data = read_plan(api, subject, str(request["head"]["sha"]))
    except ActionError as error:
        fail(str(error))
        return "missing", str(error), True
    file = Path(tempfile.mkdtemp(prefix="lac-apply-", dir=job.environ.get("RUNNER_TEMP"))) / "lac.plan"
    file.write_bytes(data)
    timeout = job.input("lock-timeout", "5m")
    result = Lac(job).run("apply", str(file), "--no-input", "--same-manifests", f"--lock-timeout={timeout}")
    log(result.out)
    log(result.err)
    outcome = outcome_of(result)
    # JSON is read only after `lac` has checked the file
    news = outcome != "applied" or json.loads(data)["plan"]["summary"]["difference"]
    return outcome, result.out + result.err, bool(news)


def outcome_of(result: Result) -> str:
    """The outcome in one word."""
    if result.code == 0:
        return "applied"
    return next((OUTCOMES[code] for code in result.errors if code in OUTCOMES), "failed")


def find_request(api: Api, sha: str) -> Mapping[str, Any]:
    """The pull request whose merge is this commit. ActionError for none: the commit was not reviewed."""
    for attempt in range(1, ATTEMPTS + 1):
        for request in api.pages(f"commits/{sha}/pulls?per_page=100"):
            if request.get("merged_at") and request.get("merge_commit_sha") == sha:
                return dict(request)
        # GitHub may start the job before its API knows the merge
        if attempt < ATTEMPTS:
            time.sleep(pause(attempt))
    raise ActionError(
        f"Commit {sha[:12]} is not the merge of a pull request, so there is no reviewed plan. Run `lac apply`"
        " yourself, or open a pull request."
    )


def read_plan(api: Api, subject: Subject, sha: str) -> bytes:
    """The plan of the pull request's last commit, from a run in this repository. ActionError for none."""
    name = subject.artifact(sha)
    artifacts = [
        artifact
        for artifact in api.pages(f"actions/artifacts?name={quote(name, safe='')}&per_page=100")
        if artifact.get("name") == name and not artifact.get("expired") and _is_own(artifact, sha)
    ]
    if not artifacts:
        raise ActionError(
            f"There is no plan for commit {sha[:12]} (artifact `{name}`): it has expired, or was never"
            " uploaded. Pull requests from forks have no plan."
        )
    latest = max(artifacts, key=lambda artifact: str(artifact["created_at"]))
    return api.artifact(int(latest["id"]), "lac.plan")


def _is_own(artifact: Mapping[str, Any], sha: str) -> bool:
    """Whether the artifact is from a run for that commit, and not from a fork's."""
    run = artifact.get("workflow_run") or {}
    return run.get("head_sha") == sha and run.get("head_repository_id") == run.get("repository_id")


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(apply)
