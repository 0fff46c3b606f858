"""The conformance kit, with the aggregator as its documents describe it."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from pitboss_plugins.games.softswiss.driver import SoftswissDialect
from pitboss_sdk.games import CallKind, DialectRefusal, DialectResponse, RawCall, Refusal
from pitboss_sdk.plugin import HttpResponse
from pitboss_sdk.testing import (
    RULES,
    SIGNED_AT_US,
    Intent,
    Mutant,
    NoticeSender,
    Reading,
    Rule,
    VendorRequest,
    Wish,
    Written,
    edit_source,
    list_mutants,
    read_subject,
)

SECRET = "configured-secret-of-the-kit"
NOTICE_SECRET = "whsec_" + b64encode(b"thirty-two bytes for the notices").decode()
CODES = {"100", "101", "105", "107", "110", "154", "400", "403", "404", "409", "500", "503"}


class Aggregator:
    """Both sides of the public documents: wallet calls out, launcher and catalogue in."""

    signature_header = "x-request-sign"
    amount_decimals = None
    refused_currencies: frozenset[str] = frozenset()
    webhooks = NoticeSender("aurora", NOTICE_SECRET)

    def write(self, intent: Intent) -> Written | None:
        if intent.free_spin or intent.jackpot_pool:
            return None  # the documents have no words for them
        body: dict[str, Any] = {
            "account_id": intent.account,
            "currency": intent.currency,
            "game_id": intent.game,
            "session_id": intent.session,
        }
        if intent.kind is CallKind.PLAY:
            movements = [
                {"id_provider": each.reference, "type": each.kind.name.lower(), "amount": each.amount}
                for each in intent.movements
            ]
            body |= {"round_id": intent.round, "finished": intent.finished, "transactions": movements}
            return Written("betwin", json.dumps(body).encode())
        if intent.kind is CallKind.ROLLBACK:
            reversals = [
                {"id_provider": each.reference, "type": "rollback", "original_id_provider": each.reverses}
                for each in intent.movements
            ]
            body |= {"round_id_provider": intent.round, "finished": intent.finished, "transactions": reversals}
            return Written("rollback", json.dumps(body).encode())
        if intent.kind is CallKind.FINISH:
            return Written("finish", json.dumps({**body, "round_id": intent.round}).encode())
        return Written("balance", json.dumps(body).encode())

    def sign(self, operation: str, body: bytes, *, stranger: bool = False) -> Mapping[str, str]:
        key = "a-key-that-nobody-configured" if stranger else SECRET
        return {
            "content-type": "application/json",
            "x-request-sign": hmac.new(key.encode(), body, hashlib.sha256).hexdigest(),
        }

    def read(self, written: Written | None, response: DialectResponse) -> Reading:
        answer = json.loads(response.body)
        if response.status == 200:
            movements = answer.get("transactions", [])
            meant = json.loads(written.body) if written else {}
            sent = [each["id_provider"] for each in meant.get("transactions", ())]
            if [each["id_provider"] for each in movements] != sent:
                raise ValueError("the transactions are not those that were sent")
            return Reading(
                accepted=True,
                code="200",
                balance=answer["balance"],
                round=answer["round_id"] if sent else None,
                transactions=tuple(each["id"] for each in movements),
            )
        code = answer["meta"]["api_code"]
        if response.status not in {400, 500} or code not in CODES or (response.status == 500) is not (code[0] == "5"):
            raise ValueError(f"no document lists HTTP {response.status} with {code}")
        if code in {"100", "105"} and "balance" not in answer["meta"]:
            raise ValueError(f"{code} must tell the balance")
        return Reading(
            accepted=False,
            code=code,
            retries=response.status == 500,
            lacks_money=code == "100",
            balance=answer["meta"].get("balance"),
        )

    def serve(self, request: VendorRequest, wish: Wish) -> HttpResponse:
        parts = urlsplit(request.url)
        if parts.path == "/api/v1/operator/games":
            asked = parse_qs(parts.query)
            if request.method != "GET" or asked["operator"] != ["aurora"]:
                raise ValueError("not a call for the games of this casino")
            if wish != "grant":
                return HttpResponse(404 if wish == "refuse" else 418, {}, b'{"status":404}')
            return HttpResponse(200, {}, b'{"games":[{"identifier":"book","title":"Book","payout":96.1}]}')
        if request.method != "POST" or parts.path != "/api/v1/softswiss/launcher/real":
            raise ValueError(f"no such address: {request.method} {parts.path}")
        signature = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
        if request.headers["x-request-sign"] != signature:
            raise ValueError("the signature is wrong")
        asked = json.loads(request.body)
        if not (asked["casino_id"] == "aurora" and asked["game"] and asked["account"]["id"] and asked["session_id"]):
            raise ValueError("a field that must be there is empty")
        if wish != "grant":
            meta = {"api_code": "405" if wish == "refuse" else "999", "api_message": "no"}
            return HttpResponse(400, {}, json.dumps({"code": "invalid_argument", "meta": meta}).encode())
        return HttpResponse(200, {}, b'{"launch_url":"https://play.example/?t=1"}')


SUBJECT = read_subject(
    SoftswissDialect,
    {
        "casino_id": "aurora",
        "gateway_url": "https://gateway.example/",
        "api_secret": {"secret": "current"},
        "notice_secret": {"secret": "notices"},
    },
    {"current": SECRET, "notices": NOTICE_SECRET},
    Aggregator(),
)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_the_plugin_keeps_the_rule(rule: Rule) -> None:
    assert rule.find_faults(SUBJECT) == []


MUTANTS = list_mutants(SUBJECT)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{each.rule}-{each.name}" for each in MUTANTS])
def test_a_broken_copy_of_the_plugin_is_found(mutant: Mutant) -> None:
    (rule,) = [rule for rule in RULES if rule.name == mutant.rule]
    assert rule.find_faults(mutant.subject), mutant.name


EDITS = [
    (
        "purity.effects",
        "read = self._readers.get(call.operation)",
        '__import__("socket").getaddrinfo("localhost", 80); read = self._readers.get(call.operation)',
    ),
    ("static.code", "import hmac\n", "import hmac\nimport urllib.request\n"),
    ("signature.altered", "whole.hexdigest(), claimed):", "whole.hexdigest()[:8], claimed[:8]):"),
    ("signature.altered", "if len(claimed) == 64 and claimed.isascii():", "if len(claimed) == 64:"),
    ("signature.body", "content.update(body)", "content.update(body.strip())"),
    ("calls.oversize", "if len(body) > mapping.MAX_BODY_BYTES:", "if len(body) > 10 * mapping.MAX_BODY_BYTES:"),
    ("amounts.beyond", "        if amount_minor == 0:", "        if amount_minor < 0:"),
    ("duplicates.within", "if len(legs) > 1 and len({leg.reference for leg in legs}) < len(legs):", "if not legs:"),
    ("duplicates.within", "if reversal.id_provider == reversal.original_id_provider:", "if not reversal.id_provider:"),
    (
        "calls.malformed",
        "except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):\n        raise D",
        "except (msgspec.DecodeError, UnicodeDecodeError):\n        raise D",
    ),
    ("references.beyond", "    if not text.isprintable():", "    if not text:"),
    ("amounts.exact", "    if _CURRENCY_CODE.fullmatch(currency):", "    if currency.islower():"),
    ("calls.meaning", "wire.round_id, True)", "wire.round_id, False)"),
    (
        "refusals.understood",
        "        if balance is None:\n            # The",
        "        if balance is False:\n            # The",
    ),
    ("refusals.silent", "if detail and refusal not in _SILENT else text", "if detail else text"),
    (
        "answers.balance",
        "    balance = decimal_from_minor(answer.balance_minor, _DECIMALS[call.currency])",
        "    balance = decimal_from_minor(answer.balance_minor, 2)",
    ),
    ("driver.departure", "        return Unknown(str(error)[:200])", "        return Unsent(str(error)[:200])"),
    ("driver.unlisted", "and error.meta.api_code in mapping.LAUNCH_REFUSALS:", "and error.meta.api_code:"),
    ("driver.pii", "            ip=request.ip,", "            ip='',"),
]
"""Faults that a hand could make in the module, and the rule that must find each."""


@pytest.mark.parametrize(("rule", "old", "new"), EDITS, ids=[f"{each[0]}-{n}" for n, each in enumerate(EDITS)])
def test_a_fault_of_the_hand_is_found(rule: str, old: str, new: str) -> None:
    broken = edit_source(SUBJECT, "driver.py", old, new)
    assert [each.name for each in RULES if each.name == rule and each.find_faults(broken)], (old, new)


def test_every_rule_has_been_seen_to_fail() -> None:
    assert {mutant.rule for mutant in MUTANTS} == {rule.name for rule in RULES}


class TimedAggregator(Aggregator):
    """An aggregator that signs the time of its calls, as others do."""

    def sign(self, operation: str, body: bytes, *, stranger: bool = False) -> Mapping[str, str]:
        return {**super().sign(operation, body, stranger=stranger), "x-time": str(SIGNED_AT_US)}


class TimedDialect(SoftswissDialect):
    def verify(self, call: RawCall) -> None:
        super().verify(call)
        if abs(call.received_at_us - int(call.headers["x-time"])) > 300_000_000:
            raise DialectRefusal(Refusal.SIGNATURE_INVALID)


def test_a_dialect_can_keep_to_the_time_of_receipt() -> None:
    (rule,) = [rule for rule in RULES if rule.name == "signature.stale"]
    capability = {**SUBJECT.manifest.capability, "call_skew_seconds": 300}
    manifest = msgspec.structs.replace(SUBJECT.manifest, capability=capability)
    timed = msgspec.structs.replace(SUBJECT, plugin=TimedDialect, double=TimedAggregator(), manifest=manifest)
    assert rule.find_faults(timed) == []
    assert rule.find_faults(msgspec.structs.replace(timed, plugin=SoftswissDialect))
    assert rule.find_faults(msgspec.structs.replace(timed, manifest=SUBJECT.manifest))
    broken = [each for each in list_mutants(timed) if each.rule == rule.name]
    assert len(broken) == 2
    assert all(rule.find_faults(each.subject) for each in broken)
