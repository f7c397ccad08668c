"""The former place of `stores.sql.store`, until its importers have followed."""

from ..sql.store import *  # noqa: F403
from .bootstrap import empty_store as empty_store
