"""Where MLflow would put the files of a new experiment, concluded from its rows."""

from __future__ import annotations

from sqlalchemy import Connection, select

from .tables import experiments, workspaces
from .uris import local_path

_LOOKED_AT = 50


def artifact_root(db: Connection, workspace: str, setting: str) -> str:
    """The address below which MLflow puts an experiment's files, by its id.

    `setting`, unless it is relative: then the newest experiment that MLflow placed shows where (a server
    started with another `--default-artifact-root` since then can't be known), or its workspace does.
    """
    here = local_path(setting)
    if setting and (here is None or here.is_absolute()):
        return setting
    newest = (
        select(experiments.c.experiment_id, experiments.c.artifact_location)
        .where(experiments.c.workspace == workspace)
        .order_by(experiments.c.experiment_id.desc())
        .limit(_LOOKED_AT)
    )
    for number, location in db.execute(newest):
        root, slash, last = (location or "").rpartition("/")
        if slash and last == str(number):
            return f"{root}/" if root.endswith(":") else root
    own = select(workspaces.c.default_artifact_root).where(workspaces.c.name == workspace)
    return db.scalar(own) or setting
