"""Apply on merge: exactly the plan that was reviewed in the pull request, or nothing.

The plan is the artifact of the pull request's last commit. `lac` refuses it where its seal is broken, where
the manifests that were merged aren't those that it was made from, and where what is live has moved since.
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
from lac import Lac, Ran, fail, fenced, log, run_link, step, warn
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
"""What the codes of errors mean for a reader; anything else is `failed`."""

ANEW = (
    "A new pull request that touches the stack, if only in a comment of a manifest, plans what is left to do."
)
"""The way out: the same plan isn't applied twice, so running the job again is none."""

WORDS: Mapping[str, str] = {
    "applied": "Applied exactly as it was reviewed.",
    "missing": f"**Nothing was applied: there is no plan.** {ANEW}",
    "stale": f"**Nothing was applied: the plan is stale.** {ANEW}",
    "denied": f"**Nothing was applied: a policy denies it.** {ANEW}",
    "refused": f"**Nothing was applied: the plan isn't one to be trusted.** {ANEW}",
    "failed": f"**The apply failed.** What was done is recorded. {ANEW}",
}


def apply(job: Job) -> int:
    """The step. Exits with 1 unless everything in the plan was done."""
    api, subject = Api.of(job), Subject.of(job)
    merged = request_of(api, job.environ["GITHUB_SHA"])
    outcome, said, news = carried_out(api, job, subject, merged)
    job.output(outcome=outcome, pull_request=str(merged["number"]))
    told = fenced(said.strip(), 40_000)
    body = f"### {subject.title('Apply')}\n\n{WORDS[outcome]}\n\n{told}\n\n<sub>{run_link(job)}</sub>"
    job.summarize(body)
    if job.is_on("comment"):
        try:
            api.comment(int(merged["number"]), subject.marker("lac apply"), body, news=news)
        except ActionError as error:
            warn(f"The pull request's comment couldn't be written. {error}")
    return 0 if outcome == "applied" else 1


def carried_out(api: Api, job: Job, subject: Subject, merged: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Apply the plan that was reviewed: how it ended, what was said, and whether that is news."""
    try:
        data = reviewed(api, subject, str(merged["head"]["sha"]))
    except ActionError as error:
        fail(str(error))
        return "missing", str(error), True
    file = Path(tempfile.mkdtemp(prefix="lac-apply-", dir=job.environ.get("RUNNER_TEMP"))) / "lac.plan"
    file.write_bytes(data)
    timeout = job.input("lock-timeout", "5m")
    ran = Lac(job).run("apply", str(file), "--no-input", "--same-manifests", f"--lock-timeout={timeout}")
    log(ran.out)
    log(ran.err)
    outcome = outcome_of(ran)
    # a file that was applied is whole
    news = outcome != "applied" or json.loads(data)["plan"]["summary"]["difference"]
    return outcome, ran.out + ran.err, bool(news)


def outcome_of(ran: Ran) -> str:
    """One word for how it ended."""
    if ran.code == 0:
        return "applied"
    return next((OUTCOMES[code] for code in ran.errors if code in OUTCOMES), "failed")


def request_of(api: Api, sha: str) -> Mapping[str, Any]:
    """The pull request that this commit merged. ActionError where none did: nobody reviewed it."""
    for attempt in range(1, ATTEMPTS + 1):
        for found in api.pages(f"commits/{sha}/pulls?per_page=100"):
            if found.get("merged_at") and found.get("merge_commit_sha") == sha:
                return dict(found)
        # GitHub may start the job before it has written down what it merged
        if attempt < ATTEMPTS:
            time.sleep(pause(attempt))
    raise ActionError(
        f"Commit {sha[:12]} came by no pull request, so there is no plan that was reviewed. Run `lac apply`"
        " by hand, or bring the change as a pull request."
    )


def reviewed(api: Api, subject: Subject, sha: str) -> bytes:
    """The plan of the pull request's last commit, made by a run of this repository's own. ActionError where
    there is none."""
    name = subject.artifact(sha)
    found = [
        artifact
        for artifact in api.pages(f"actions/artifacts?name={quote(name, safe='')}&per_page=100")
        if artifact.get("name") == name and not artifact.get("expired") and _own(artifact, sha)
    ]
    if not found:
        raise ActionError(
            f"There is no plan for commit {sha[:12]} (artifact `{name}`): it expired, or was never made."
            " A fork's pull request has none."
        )
    latest = max(found, key=lambda artifact: str(artifact["created_at"]))
    return api.artifact(int(latest["id"]), "lac.plan")


def _own(artifact: Mapping[str, Any], sha: str) -> bool:
    """Whether it comes from a run for that commit, and not from a fork's."""
    run = artifact.get("workflow_run") or {}
    return run.get("head_sha") == sha and run.get("head_repository_id") == run.get("repository_id")


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    step(apply)
