"""A job's subject: one stack's directory in one environment. Both name everything on GitHub, so that stacks
and environments of a repository don't overwrite each other's comments, issues and artifacts. Pure.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote

from github import Job


@dataclass(frozen=True, slots=True)
class Subject:
    """`directory`: relative to the repository's root. `environment`: empty for none."""

    directory: str
    environment: str

    @classmethod
    def of(cls, job: Job) -> Subject:
        root = job.environ.get("GITHUB_WORKSPACE") or os.curdir
        where = os.path.join(root, job.input("working-directory", os.curdir))
        # as `lac` does
        environment = job.input("environment") or job.environ.get("LAC_ENV", "")
        return cls(os.path.relpath(where, root), environment)

    def marker(self, name: str) -> str:
        """The invisible first line of a comment or issue. An HTML comment ends at two hyphens."""
        return f"<!-- {name} {self._key(safe='/ ').replace('--', '-%2D')} -->"

    def artifact(self, commit: str) -> str:
        """The plan's artifact. GitHub allows no slash in its name."""
        return f"lac-plan-{self._key()}-{commit}"

    def title(self, name: str) -> str:
        """A heading; without names that aren't plain text in Markdown."""
        parts = [name]
        if _plain(self.environment):
            parts.append(f"for `{self.environment}`")
        if self.directory != os.curdir and _plain(self.directory):
            parts.append(f"in `{self.directory}`")
        return " ".join(parts)

    def _key(self, safe: str = "") -> str:
        """Both names as one unique key."""
        where = quote(self.directory, safe=safe)
        return f"{quote(self.environment, safe=safe)}@{where}" if self.environment else where


def _plain(name: str) -> bool:
    return re.fullmatch(r"[\w./ -]{1,100}", name) is not None
