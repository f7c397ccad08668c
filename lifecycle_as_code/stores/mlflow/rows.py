"""The former place of `stores.sql.rows`, until its importers have followed."""

from ..sql.rows import *  # noqa: F403
from .prompts import PROMPT_TAG as PROMPT_TAG
from .prompts import prompt_names

prompts = prompt_names
