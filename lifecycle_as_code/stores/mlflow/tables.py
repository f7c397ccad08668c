"""MLflow's tables, as far as we read or write them. Declarations only: we never create them.

One MetaData covers MLflow 3.10 to 3.17: since revision 1b5f0d9ad7c1 (3.10) every registry table
has the `workspace` column. Columns that we neither read nor write are left out, so that a newer
MLflow may add its own. Server defaults aren't relied on: a writer names every column.

What MLflow's REST handlers leave, as observed on 3.17. M and V are the `last_updated_time` of the model
and of the version; "none" in a column of times means that no time moves.

| action | rows | times |
|---|---|---|
| create a model | description "" where none is given; its tags | its own two |
| describe a model | "" where nothing is given | M |
| set or delete a tag or an alias | that row | none |
| create a version | as below | its own two, M |
| describe a version | | V |
| move a version's stage | others keep theirs unless it is asked to archive them | V, M |
| delete a version | stage Deleted_Internal, source and run redacted, its aliases gone | V, M |
| delete a model | gone, with its versions, tags and aliases | |
| rename a model | versions, tags and aliases follow; no source does | M, V of all, deleted ones too |
| create an experiment | the next id; `<root>/<id>` where no location is given | its own two |
| describe an experiment | the tag `mlflow.note.content` | none |
| rename an experiment | grants and runs go by its id | its last |
| delete an experiment | marked, with all of its runs; their assessments gone | its last, runs' deleted |
| restore an experiment | active, with all of its runs, whatever they were | its last |

A new version has description, run_link and run_id "" where none is given (run_id NULL where it comes from
a logged model that has no run), user_id NULL, status READY, stage None. The logged model that it comes from
gets `{"name", "version"}` into its tag `mlflow.modelVersions`. A deleted version keeps its storage_location
and its tags, and the logged model's tag keeps naming it.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, String, Table, Text

DELETED: Final = "Deleted_Internal"
"""`current_stage` of a version that was deleted: the row stays, its number is never used again."""

metadata: Final = MetaData()


def _table(name: str, *columns: Column[Any]) -> Table:
    return Table(name, metadata, *columns)


# registry

registered_models: Final = _table(
    "registered_models",
    Column("workspace", String(63), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("creation_time", BigInteger),
    Column("last_updated_time", BigInteger),
    Column("description", String(5000)),
)

registered_model_tags: Final = _table(
    "registered_model_tags",
    Column("workspace", String(63), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("value", String(5000)),
)

registered_model_aliases: Final = _table(
    "registered_model_aliases",
    Column("workspace", String(63), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("alias", String(256), primary_key=True),
    Column("version", Integer, nullable=False),
)

model_versions: Final = _table(
    "model_versions",
    Column("workspace", String(63), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("creation_time", BigInteger),
    Column("last_updated_time", BigInteger),
    Column("description", String(5000)),
    Column("user_id", String(256)),
    Column("current_stage", String(20)),
    Column("source", String(500)),
    Column("storage_location", String(500)),
    Column("run_id", String(32)),
    Column("run_link", String(500)),
    Column("status", String(20)),
    Column("status_message", String(500)),
)

model_version_tags: Final = _table(
    "model_version_tags",
    Column("workspace", String(63), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("value", Text),
)

webhooks: Final = _table(
    "webhooks",
    Column("webhook_id", String(256), primary_key=True),
    Column("workspace", String(63), nullable=False),
    Column("name", String(256), nullable=False),
    Column("status", String(20), nullable=False),
    Column("deleted_timestamp", BigInteger),
)

webhook_events: Final = _table(
    "webhook_events",
    Column("webhook_id", String(256), primary_key=True),
    Column("entity", String(50), primary_key=True),
    Column("action", String(50), primary_key=True),
)

# tracking

workspaces: Final = _table(
    "workspaces",
    Column("name", String(63), primary_key=True),
    Column("default_artifact_root", Text),
)

experiments: Final = _table(
    "experiments",
    Column("experiment_id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(256), nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("artifact_location", String(256)),
    Column("lifecycle_stage", String(32)),
    Column("creation_time", BigInteger),
    Column("last_update_time", BigInteger),
)

experiment_tags: Final = _table(
    "experiment_tags",
    Column("key", String(250), primary_key=True),
    Column("experiment_id", Integer, primary_key=True, autoincrement=False),
    Column("value", Text),
)

runs: Final = _table(
    "runs",
    Column("run_uuid", String(32), primary_key=True),
    Column("name", String(250)),
    Column("user_id", String(256)),
    Column("status", String(20)),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("lifecycle_stage", String(20)),
    Column("artifact_uri", String(200)),
    Column("experiment_id", Integer),
    Column("deleted_time", BigInteger),
)

run_tags: Final = _table(
    "tags",
    Column("key", String(250), primary_key=True),
    Column("run_uuid", String(32), primary_key=True),
    Column("value", String(8000)),
)

metrics: Final = _table(
    "metrics",
    Column("key", String(250), primary_key=True),
    Column("timestamp", BigInteger, primary_key=True, autoincrement=False),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("run_uuid", String(32), primary_key=True),
    Column("value", Float(53), primary_key=True),
    Column("is_nan", Boolean, primary_key=True),
)
"""Every value that a run logged. NaN is 0 here with `is_nan` set; the same in `latest_metrics`."""

latest_metrics: Final = _table(
    "latest_metrics",
    Column("key", String(250), primary_key=True),
    Column("run_uuid", String(32), primary_key=True),
    Column("value", Float(53), nullable=False),
    Column("timestamp", BigInteger),
    Column("step", BigInteger, nullable=False),
    Column("is_nan", Boolean, nullable=False),
)

params: Final = _table(
    "params",
    Column("key", String(250), primary_key=True),
    Column("run_uuid", String(32), primary_key=True),
    Column("value", String(8000), nullable=False),
)

datasets: Final = _table(
    "datasets",
    Column("name", String(500), primary_key=True),
    Column("digest", String(36), primary_key=True),
    Column("dataset_uuid", String(36), nullable=False),
)

logged_models: Final = _table(
    "logged_models",
    Column("model_id", String(36), primary_key=True),
    Column("experiment_id", Integer, nullable=False),
    Column("name", String(500), nullable=False),
    Column("artifact_location", String(1000), nullable=False),
    Column("lifecycle_stage", String(32)),
    Column("source_run_id", String(32)),
)

logged_model_tags: Final = _table(
    "logged_model_tags",
    Column("model_id", String(36), primary_key=True),
    Column("experiment_id", Integer, nullable=False),
    Column("tag_key", String(255), primary_key=True),
    Column("tag_value", Text, nullable=False),
)

logged_model_metrics: Final = _table(
    "logged_model_metrics",
    Column("model_id", String(36), primary_key=True),
    Column("metric_name", String(500), primary_key=True),
    Column("metric_timestamp_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("metric_step", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", String(32), primary_key=True),
    Column("metric_value", Float(53)),
    Column("dataset_name", String(500)),
    Column("dataset_digest", String(36)),
)
"""Every value that was logged for a model. NaN is 0 here; only `metrics` marks it."""

logged_model_params: Final = _table(
    "logged_model_params",
    Column("model_id", String(36), primary_key=True),
    Column("param_key", String(255), primary_key=True),
    Column("param_value", Text, nullable=False),
)

inputs: Final = _table(
    "inputs",
    Column("input_uuid", String(36), nullable=False),
    Column("source_type", String(36), primary_key=True),
    Column("source_id", String(36), primary_key=True),
    Column("destination_type", String(36), primary_key=True),
    Column("destination_id", String(36), primary_key=True),
    Column("step", BigInteger),
)

input_tags: Final = _table(
    "input_tags",
    Column("input_uuid", String(36), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("value", String(500), nullable=False),
)

assessments: Final = _table(
    "assessments",
    Column("assessment_metadata", Text),
)

endpoints: Final = _table(
    "endpoints",
    Column("endpoint_id", String(36), primary_key=True),
    Column("name", String(255)),
    Column("workspace", String(63), nullable=False),
)
"""MLflow's AI gateway endpoints: grants name them by id, people by name."""

# auth: possibly another database

users: Final = _table(
    "users",
    Column("id", Integer, primary_key=True),
    Column("username", String(255), unique=True),
    Column("password_hash", String(255)),
    Column("is_admin", Boolean),
)

roles: Final = _table(
    "roles",
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("description", String(1024)),
)

role_permissions: Final = _table(
    "role_permissions",
    Column("id", Integer, primary_key=True),
    Column("role_id", Integer, nullable=False),
    Column("resource_type", String(64), nullable=False),
    Column("resource_pattern", String(255), nullable=False),
    Column("permission", String(255), nullable=False),
)

user_role_assignments: Final = _table(
    "user_role_assignments",
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, nullable=False),
    Column("role_id", Integer, nullable=False),
)
