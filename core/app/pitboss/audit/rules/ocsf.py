"""What an entry of the log is in OCSF 1.8.0: the class, the activity, and the attributes that a SIEM searches by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

VERSION: Final = "1.8.0"
ACCOUNT_CHANGE: Final = 3001
AUTHENTICATION: Final = 3002
ENTITY_MANAGEMENT: Final = 3004
API_ACTIVITY: Final = 6003
_OTHER: Final = 99
_INFORMATIONAL, _MEDIUM, _HIGH = 1, 3, 4

_ACCOUNT_TYPES: Final[Mapping[str, tuple[int, int]]] = {
    "player.signed_in": (AUTHENTICATION, 1),
    "player.sign_in_failed": (AUTHENTICATION, 1),
    "player.signed_out": (AUTHENTICATION, 2),
    "player.registered": (ACCOUNT_CHANGE, 1),
    "player.password_reset": (ACCOUNT_CHANGE, 3),
    "player.password_reset_requested": (ACCOUNT_CHANGE, 4),
    "player.closed": (ACCOUNT_CHANGE, 5),
    "player.erased": (ACCOUNT_CHANGE, 6),
    "player.status_changed": (ACCOUNT_CHANGE, _OTHER),
}
_CREATE: Final = frozenset(
    "added arrived asked began made ordered placed prepared proposed published received registered reserved set"
    " launched started".split()
)
_READ: Final = frozenset("exported fetched listed revealed viewed".split())
_DELETE: Final = frozenset("cancelled closed destroyed erased lifted removed".split())
_OF_ENTITIES: Final[Mapping[str, int]] = {"enabled": 8, "disabled": 9, "activated": 10, "suspended": 12, "resumed": 13}
_USER_TYPES: Final[Mapping[str, int]] = {"player": 1, "operator": 2, "service": 4, "deployment": 4}
_ALARMS: Final = ("capture.unexplained", "capture.unfounded")


def compose_ocsf(body: bytes) -> dict[str, Any]:
    """Return the OCSF event of an entry's bytes; the same entry gives the same event each time."""
    entry: dict[str, Any] = msgspec.json.decode(body)
    class_uid, activity_id = _classify(entry)
    verb = entry["type"].rpartition(".")[2]
    event: dict[str, Any] = {
        "activity_id": activity_id,
        "category_uid": class_uid // 1000,
        "class_uid": class_uid,
        "type_uid": class_uid * 100 + activity_id,
        "time": _milliseconds(entry["occurred_at"]),
        "severity_id": _rate(entry),
        "status_id": 1 if entry["outcome"] == "success" else 2,
        "status_detail": entry["outcome"],
        "message": entry["type"],
        "metadata": _describe(entry),
        "unmapped": {"target": entry["target"], "change": entry["change"], "category": entry["category"]},
    }
    if activity_id == _OTHER:
        event["activity_name"] = verb
    if entry["reason"]:
        event["status_code"] = entry["reason"]
    return {**event, **_name_parties(entry, class_uid)}


def _classify(entry: Mapping[str, Any]) -> tuple[int, int]:
    known = _ACCOUNT_TYPES.get(entry["type"])
    if known is not None:
        return known
    words = entry["type"].rpartition(".")[2].split("_")
    if entry["category"] == "config_change":
        found = next((_OF_ENTITIES[word] for word in words if word in _OF_ENTITIES), None)
        return ENTITY_MANAGEMENT, found or _find_activity(words, 3)
    return API_ACTIVITY, 2 if entry["category"] == "data_access" else _find_activity(words, _OTHER)


def _find_activity(words: list[str], otherwise: int) -> int:
    for activity, verbs in ((2, _READ), (4, _DELETE), (1, _CREATE)):
        if verbs & set(words):
            return activity
    return otherwise


def _rate(entry: Mapping[str, Any]) -> int:
    if entry["type"] in _ALARMS:
        return _HIGH
    return _INFORMATIONAL if entry["outcome"] == "success" else _MEDIUM


def _describe(entry: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": VERSION,
        "product": {"name": "Pitboss", "vendor_name": "Pitboss", "feature": {"name": "audit"}},
        "uid": entry["id"],
        "sequence": entry["log_seq"],
        "tenant_uid": entry["tenant"],
        "log_name": f"pitboss.audit/{entry['cell']}/{entry['tenant']}",
        "log_version": entry["schema"],
        "event_code": entry["type"],
        "original_time": entry["occurred_at"],
        "logged_time": _milliseconds(entry["recorded_at"]),
    }
    if entry["origin"]["request_id"]:
        found["correlation_uid"] = entry["origin"]["request_id"]
    return found


def _name_parties(entry: Mapping[str, Any], class_uid: int) -> dict[str, Any]:
    """Who did it, from where, to what. Addresses stand in the log as digests, so a digest names the end point."""
    kind, name = entry["actor"]["type"], entry["actor"]["principal"]
    user: dict[str, Any] = {"uid": name or kind, "type_id": _USER_TYPES.get(kind, _OTHER)}
    if user["type_id"] == _OTHER:
        user["type"] = kind
    parties: dict[str, Any] = {
        "actor": {"user": user},
        "src_endpoint": {"uid": entry["origin"]["client_digest"] or f"{entry['cell']}/{kind}"},
    }
    target = entry["target"]
    named = {"uid": target["id"] or target["type"]}
    if class_uid == ENTITY_MANAGEMENT:
        parties["entity"] = {**named, "type": target["type"]}
    elif class_uid == API_ACTIVITY:
        parties["api"] = {"operation": entry["type"], "service": {"name": "Pitboss"}}
        parties["resources"] = [{**named, "type": target["type"]}]
    else:
        parties["user"] = {**named, "type_id": 1}
        if class_uid == AUTHENTICATION:
            parties["service"] = {"name": "Pitboss"}
    return parties


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
