"""Every registered event is valid OCSF 1.8.0, by a schema that is not ours."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from pitboss.audit.contracts import EVENT_TYPES
from pitboss.audit.rules.ocsf import ACCOUNT_CHANGE, API_ACTIVITY, AUTHENTICATION, ENTITY_MANAGEMENT, compose_ocsf

CLASSES = {
    ACCOUNT_CHANGE: "account_change",
    AUTHENTICATION: "authentication",
    ENTITY_MANAGEMENT: "entity_management",
    API_ACTIVITY: "api_activity",
}


@pytest.fixture(scope="module")
def validators() -> dict[int, jsonschema.Draft202012Validator]:
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
    return {
        uid: jsonschema.Draft202012Validator(schemas.get_class_schema(name, profiles=[]))
        for uid, name in CLASSES.items()
    }


def make_entry(event_type: str, outcome: str = "success", **changes: Any) -> bytes:
    found = EVENT_TYPES[event_type]
    entry = {
        "schema": "pitboss-audit-event/1",
        "id": "0190a000-0000-7000-8000-000000000001",
        "tenant": "aurora",
        "cell": "eu-1",
        "log_seq": 12,
        "occurred_at": "2026-11-21T12:00:00.250000Z",
        "recorded_at": "2026-11-21T12:00:01.000000Z",
        "category": found.category.value,
        "type": event_type,
        "outcome": outcome,
        "reason": "" if outcome == "success" else "not_allowed",
        "actor": {"type": "operator", "principal": "ada"},
        "origin": {"request_id": "r1", "causation_id": "", "client_digest": "ab" * 32},
        "target": {"type": found.target_type, "id": "x1"},
        "change": [{"path": "status", "before": "active", "after": None}],
    }
    return json.dumps({**entry, **changes}).encode()


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_every_type_is_valid_whatever_came_of_it(
    event_type: str, validators: dict[int, jsonschema.Draft202012Validator]
) -> None:
    bare = {
        "actor": {"type": "provider", "principal": ""},
        "origin": {"request_id": "", "causation_id": "", "client_digest": ""},
        "target": {"type": "game", "id": ""},
        "change": [],
    }
    for body in (
        make_entry(event_type),
        make_entry(event_type, "denied"),
        make_entry(event_type, "error"),
        make_entry(event_type, **bare),
    ):
        event = compose_ocsf(body)
        validators[event["class_uid"]].validate(event)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]


def test_the_schema_would_tell_of_a_wrong_event(validators: dict[int, jsonschema.Draft202012Validator]) -> None:
    event = compose_ocsf(make_entry("brand.added"))
    for wrong in ({"class_uid": 9999}, {"time": "noon"}, {"severity_id": 42}, {"metadata": {}}, {"strange": 1}):
        assert not validators[ENTITY_MANAGEMENT].is_valid({**event, **wrong}), wrong


@pytest.mark.parametrize(
    ("event_type", "outcome", "class_uid", "activity_id", "severity_id"),
    [
        ("player.signed_in", "success", AUTHENTICATION, 1, 1),
        ("player.sign_in_failed", "denied", AUTHENTICATION, 1, 3),
        ("player.registered", "success", ACCOUNT_CHANGE, 1, 1),
        ("brand.added", "success", ENTITY_MANAGEMENT, 1, 1),
        ("game.suspended", "success", ENTITY_MANAGEMENT, 12, 1),
        ("policy.applied", "success", ENTITY_MANAGEMENT, 3, 1),
        ("player.viewed", "success", API_ACTIVITY, 2, 1),
        ("capture.unexplained", "success", API_ACTIVITY, 99, 4),
    ],
)
def test_class_activity_and_severity_follow_from_type_and_outcome(
    event_type: str, outcome: str, class_uid: int, activity_id: int, severity_id: int
) -> None:
    event = compose_ocsf(make_entry(event_type, outcome))
    assert (event["class_uid"], event["activity_id"], event["severity_id"]) == (class_uid, activity_id, severity_id)


def test_an_event_bears_the_same_id_and_place_each_time() -> None:
    first, again = compose_ocsf(make_entry("brand.added")), compose_ocsf(make_entry("brand.added"))
    assert first == again
    assert (first["metadata"]["uid"], first["metadata"]["sequence"]) == ("0190a000-0000-7000-8000-000000000001", 12)
    assert first["time"] == 1795262400250
