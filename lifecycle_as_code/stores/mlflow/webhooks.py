"""MLflow's active webhooks. Only its REST handlers fire them, so SQL writes don't."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, select

from .tables import webhook_events, webhooks

WebhookNames = Mapping[tuple[str, str], tuple[str, ...]]
"""Names of webhooks by event, as MLflow spells it: (entity, action)."""


def find_webhooks(db: Connection, workspace: str) -> WebhookNames:
    """The active webhooks of a workspace. One query. MLflow: status `ACTIVE`, not deleted."""
    names_by_event: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    query = (
        select(webhook_events.c.entity, webhook_events.c.action, webhooks.c.name)
        .join(webhooks, webhooks.c.webhook_id == webhook_events.c.webhook_id)
        .where(
            webhooks.c.workspace == workspace,
            webhooks.c.status == "ACTIVE",
            webhooks.c.deleted_timestamp.is_(None),
        )
        .order_by(webhooks.c.name)
    )
    for entity, action, name in db.execute(query):
        names_by_event[entity.lower(), action.lower()].append(name)
    return {event: tuple(names) for event, names in names_by_event.items()}
