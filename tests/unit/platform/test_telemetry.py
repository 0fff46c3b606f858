"""Logs let nothing through that is not on the list; metrics count what they should; readiness names what is missing."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from pitboss.platform.fields import MAX_VALUE_CHARACTERS, describe_exception
from pitboss.platform.telemetry import FieldGuard, Metrics, Readiness

CANARIES = ("canary-secret-4711", "canary.person@example.com", "+35621234567")
SCRIPT = """
import logging, sys
import structlog
from granian.log import configure_logging as granian_logging, LogLevels
from pitboss.platform.telemetry import GRANIAN_LOGGING, Metrics, configure_logging
from pitboss_sdk.errors import PitbossError

class Situation(PitbossError):
    code = "test.situation"

secret, email, phone = sys.argv[1:4]
early = logging.getLogger("early.library")
early.addHandler(logging.StreamHandler(sys.stdout))
metrics = Metrics()
configure_logging("test", "debug", metrics)
granian_logging(LogLevels.info, GRANIAN_LOGGING, True)
log = structlog.get_logger("pitboss.test")
log.info("test.fields", tenant="aurora", email=email, api_secret=secret, player={"phone": phone}, count=3)
log.info(f"signed in {email}")
log.warning("test.nested", problem={"secret": secret}, outcome=[email])
log.info("test.bound", **{"Authorization": secret})
structlog.get_logger("pitboss.test").bind(token=secret).error("test.bound_before")
early.warning("card %s of %s", secret, email)
early.error(f"failed for {email}")
logging.getLogger("_granian").info(f"Listening at {secret}")
logging.getLogger("granian.access").info("GET /%s", secret)
logging.getLogger("litestar").error("Uncaught exception: %s", email, extra={"password": secret})
logging.getLogger("dramatiq.worker").error("Failed to process message %s", {"args": [email]})
logging.getLogger("sqlalchemy.engine").info("INSERT %s", phone)
try:
    try:
        raise ValueError(f"Key (email)=({email}) already exists")
    except ValueError as error:
        raise Situation(secret) from error
except Situation:
    log.exception("test.failed", outcome="failed")
    logging.getLogger("asyncio").exception("Task exception was never retrieved")
print(metrics.render().decode())
"""


@pytest.fixture(scope="module")
def written() -> tuple[str, list[dict[str, Any]], str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *CANARIES], capture_output=True, text=True, check=True)
    return done.stderr, [json.loads(line) for line in done.stderr.splitlines()], done.stdout


def test_no_canary_reaches_a_log_line(written: tuple[str, list[dict[str, Any]], str]) -> None:
    text, lines, printed = written
    for canary in CANARIES:
        assert canary not in text
        assert canary not in printed
    assert len(lines) == 13


def test_what_was_held_back_is_counted(written: tuple[str, list[dict[str, Any]], str]) -> None:
    _, lines, printed = written
    dropped = sum(line.get("dropped", 0) for line in lines)
    assert dropped >= 8
    assert f"pitboss_log_dropped_total {float(dropped)}" in printed


def test_what_is_allowed_stays(written: tuple[str, list[dict[str, Any]], str]) -> None:
    _, lines, _ = written
    first = lines[0]
    assert (first["event"], first["tenant"], first["count"], first["process"]) == ("test.fields", "aurora", 3, "test")
    assert first["level"] == "info"
    assert first["timestamp"].endswith("Z")
    failed = next(line for line in lines if line["event"] == "test.failed")
    assert failed["error_type"] == "Situation"
    assert failed["error_code"] == "test.situation"
    assert "<string>:" in failed["trace"]


def test_lines_of_libraries_say_who_and_where(written: tuple[str, list[dict[str, Any]], str]) -> None:
    _, lines, _ = written
    libraries = {line["library"] for line in lines if line["event"] == "library.logged"}
    assert libraries >= {"_granian", "granian.access", "litestar", "early.library", "dramatiq.worker"}
    assert all(re.fullmatch(r"\S+:\d+", line["place"]) for line in lines if line["event"] == "library.logged")


def test_long_values_are_cut_and_events_have_names() -> None:
    guard = FieldGuard("test", Metrics())
    kept = guard(None, "", {"event": "An event with words", "problem": "x" * 5_000})
    assert len(kept["problem"]) == MAX_VALUE_CHARACTERS
    assert kept["event"] == "log.text_dropped"
    assert kept["dropped"] == 1


def test_a_code_that_is_no_code_is_not_told() -> None:
    class Odd(Exception):
        code = "canary.person@example.com"

    assert "error_code" not in describe_exception(Odd())
    assert describe_exception(None) == {}


def test_wallet_calls_are_counted_by_tenant_plugin_and_outcome() -> None:
    metrics = Metrics()
    for outcome in ("done", "done", "insufficient_funds"):
        metrics.record_wallet_call("aurora", "softswiss", outcome, 0.004)
    text = metrics.render().decode()
    assert 'pitboss_wallet_calls_total{outcome="done",plugin="softswiss",tenant="aurora"} 2.0' in text
    assert 'pitboss_wallet_call_seconds_bucket{le="0.005",plugin="softswiss",tenant="aurora"} 3.0' in text
    assert metrics.count_wallet_calls() == 3
    assert Metrics().count_wallet_calls() == 0


async def test_readiness_names_what_is_missing() -> None:
    async def fine() -> str:
        return ""

    async def bad() -> str:
        raise RuntimeError(CANARIES[0])

    async def slow() -> str:
        await asyncio.sleep(30)
        return ""

    problems = await Readiness({"one": fine, "two": bad, "three": slow}).list_problems()
    assert problems == {"two": "RuntimeError", "three": "did not answer in time"}
