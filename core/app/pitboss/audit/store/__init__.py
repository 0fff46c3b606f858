"""Every SQL statement of the audit log: the events as they happen, the log's growth, and what proofs read."""

from pitboss.audit.store.events import (
    fetch_control_events,
    fetch_events,
    insert_control_event,
    insert_event,
    list_written,
)

__all__ = ["fetch_control_events", "fetch_events", "insert_control_event", "insert_event", "list_written"]
