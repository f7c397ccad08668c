"""Our own tables, `lac_*`: records, history and the lock. They commit with the rows they describe.

No foreign keys to MLflow's tables and no triggers on them, so that MLflow's migrations don't notice
us. Reading creates nothing: where the tables are missing, nothing is recorded.
"""

from ..sql.clock import clock_ms
from .records import load, save
from .tables import install, locks, schema_version, store_id

__all__ = ["clock_ms", "install", "load", "locks", "save", "schema_version", "store_id"]
