"""The conformance kit, over both flavours, with the aggregators as their documents describe them."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pitboss_plugins.games.hub88.driver import Hub88Dialect
from pitboss_sdk.games import CallKind, DialectResponse, LegKind, ListedState, ListedTransaction
from pitboss_sdk.plugin import HttpResponse
from pitboss_sdk.testing import (
    RULES,
    SIGNED_AT_US,
    Intent,
    Mutant,
    NoticeSender,
    Reading,
    Rule,
    Subject,
    VendorRequest,
    Wish,
    Written,
    edit_source,
    list_mutants,
    read_subject,
)

THEIRS, OURS, NOBODYS = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3))
NOTICE_SECRET = "whsec_" + b64encode(b"thirty-two bytes for the notices").decode()
UNDECIDED = {"RS_ERROR_UNKNOWN", "RS_ERROR_TIMEOUT"}
"""After these the aggregator sends a win and a rollback again, and takes a bet back."""
MUST_TELL = {"RS_OK", "RS_ERROR_NOT_ENOUGH_MONEY"}
COMMON = {
    *("RS_OK", "RS_ERROR_UNKNOWN", "RS_ERROR_INVALID_TOKEN", "RS_ERROR_INVALID_GAME", "RS_ERROR_WRONG_CURRENCY"),
    *("RS_ERROR_NOT_ENOUGH_MONEY", "RS_ERROR_USER_DISABLED", "RS_ERROR_INVALID_SIGNATURE", "RS_ERROR_TOKEN_EXPIRED"),
    *("RS_ERROR_WRONG_SYNTAX", "RS_ERROR_WRONG_TYPES", "RS_ERROR_DUPLICATE_TRANSACTION"),
    *("RS_ERROR_TRANSACTION_DOES_NOT_EXIST", "RS_ERROR_TRANSACTION_ROLLED_BACK"),
    # Before a tenant is known nobody knows the flavour: these two are Hub88's words, and said to either.
    *("RS_ERROR_INVALID_PARTNER", "RS_ERROR_LIMIT_REACHED"),
}


BOOKS = (
    ListedTransaction("t-1", LegKind.BET, ListedState.BOOKED, 150, "EUR", "round-1", SIGNED_AT_US),
    ListedTransaction("t-2", LegKind.WIN, ListedState.BOOKED, 30, "JPY", "round-1", SIGNED_AT_US + 1_000_000),
    ListedTransaction("t-3", LegKind.BET, ListedState.UNDONE, 700, "EUR", "round-1", SIGNED_AT_US + 2_000_000),
    ListedTransaction("t-4", LegKind.ROLLBACK, ListedState.BOOKED, 0, "EUR", "round-1", SIGNED_AT_US + 3_000_000),
    ListedTransaction("t-5", LegKind.BET, ListedState.OPEN, 100, "EUR", "round-1", SIGNED_AT_US + 4_000_000),
    ListedTransaction("t-7", LegKind.WIN, ListedState.BOOKED, 5, "EUR", "round-1", SIGNED_AT_US + 5_000_000),
)
"""What the aggregator's books hold, in the words of the contract."""
ITEMS = [
    ("t-1", "TK_BET", "TS_SUCCESS", 150_000, "EUR", 0),
    ("t-2", "TK_WIN", "TS_SUCCESS", 3_000_000, "JPY", 1),
    ("t-3", "TK_BET", "TS_DECLINED", 700_000, "EUR", 2),
    ("t-4", "TK_ROLLBACK", "TS_SUCCESS", 150_000, "EUR", 3),
    ("t-5", "TK_BET", "TS_RETRY_ATTEMPTS_LIMIT_EXCEEDED", 100_000, "EUR", 4),
    ("t-6", "TK_FREE_BET", "TS_SUCCESS", 100_000, "EUR", 4),
    ("t-6b", "TK_WIN", "TS_SUCCESS", 0, "EUR", 4),
    ("t-7", "TK_FREE_WIN", "TS_SUCCESS", 5_000, "EUR", 5),
]
"""The same in the aggregator's, with what moves nothing here: id, kind, status, amount, currency, second."""


class Aggregator:
    """Both sides of the public documents: wallet calls out, game list and game address in."""

    amount_decimals = 5
    refused_currencies: frozenset[str] = frozenset()

    def __init__(self, flavour: Literal["hub88", "caleta"]) -> None:
        hub88 = flavour == "hub88"
        self.webhooks = NoticeSender("7" if hub88 else "aurora", NOTICE_SECRET)
        self.signature_header = "x-hub88-signature" if hub88 else "x-auth-signature"
        self._base = "/operator/generic/v2/game" if hub88 else "/api/game"
        self._books = "/operator/generic/v2/transactions/list" if hub88 else ""
        self.transactions = BOOKS if hub88 else ()
        self._operator: Any = 7 if hub88 else "aurora"
        self._wanted = {"user", "token", "operator_id", "game_code", "currency", "country", "lang", "lobby_url"}
        self._wanted |= {"platform"} if hub88 else {"sub_partner_id"}
        self._statuses = COMMON | (set() if hub88 else {"RS_ERROR_BET_LIMIT_EXCEEDED", "RS_ERROR_TIMEOUT"})

    def write(self, intent: Intent) -> Written | None:
        if len(intent.movements) > 1:
            return None
        body: dict[str, Any] = {
            # A repetition has the id of the first sending.
            "request_uuid": str(uuid5(NAMESPACE_URL, repr(intent))),
            "token": f"{intent.session}.{intent.account}.{intent.currency}",
            "supplier_user": "their own name",
            "game_code": intent.game,
        }
        if intent.kind is CallKind.BALANCE:
            asked = {"request_uuid": body["request_uuid"], "user": intent.account}
            return (
                Written("info", json.dumps(asked).encode())
                if intent.way
                else Written("balance", json.dumps(body).encode())
            )
        body |= {"round": intent.round, "round_closed": intent.finished}
        if intent.kind is CallKind.FINISH:
            body |= {"transaction_uuid": "end-1", "reference_transaction_uuid": "bet-1", "amount": 0}
            return Written("win", json.dumps({**body, "currency": intent.currency, "is_free": False}).encode())
        movement = next(iter(intent.movements))
        body["transaction_uuid"] = movement.reference
        if intent.kind is CallKind.ROLLBACK:
            body["reference_transaction_uuid"] = movement.reverses
            return Written("rollback", json.dumps(body).encode())
        body |= {"currency": intent.currency, "is_free": intent.free_spin, "amount": self._wire(movement.amount)}
        if movement.kind is LegKind.WIN:
            body["reference_transaction_uuid"] = "bet-1"
            if Decimal(movement.jackpot):
                body["jackpot_win"] = self._wire(movement.jackpot)
        return Written(movement.kind.name.lower(), json.dumps(body).encode())

    def _wire(self, amount: str) -> int:
        wire = Decimal(amount).scaleb(5)
        assert wire == int(wire)
        return int(wire)

    def sign(self, operation: str, body: bytes, *, stranger: bool = False) -> Mapping[str, str]:
        signature = (NOBODYS if stranger else THEIRS).sign(body, padding.PKCS1v15(), SHA256())
        return {"content-type": "application/json", self.signature_header: b64encode(signature).decode()}

    def sign_otherwise(self, operation: str, body: bytes) -> Mapping[str, Mapping[str, str]]:
        ways = {
            "SHA-1": THEIRS.sign(body, padding.PKCS1v15(), SHA1()),  # noqa: S303 - one that must be refused
            "SHA-512": THEIRS.sign(body, padding.PKCS1v15(), SHA512()),
            "PSS": THEIRS.sign(body, padding.PSS(padding.MGF1(SHA256()), 32), SHA256()),
        }
        return {name: {self.signature_header: b64encode(signature).decode()} for name, signature in ways.items()}

    def read(self, written: Written | None, response: DialectResponse) -> Reading:
        answer = json.loads(response.body)
        status = answer["status"]
        if response.status != 200 or status not in self._statuses:
            raise ValueError(f"no document lists HTTP {response.status} with {status}")
        if written is not None and answer["request_uuid"] != json.loads(written.body)["request_uuid"]:
            raise ValueError("the answer is to another request")
        balance = answer.get("balance")
        telling = {"RS_ERROR_NOT_ENOUGH_MONEY"} if written is not None and written.operation == "info" else MUST_TELL
        if (balance is None) is (status in telling):
            raise ValueError(f"{status} and a balance of {balance}")
        if balance is not None and not (type(balance) is int and answer["user"] and answer["currency"]):
            raise ValueError("a balance is a whole number, of a user, in a currency")
        told = None if balance is None else str(Decimal(balance).scaleb(-5))
        return Reading(
            status == "RS_OK",
            status,
            retries=status in UNDECIDED,
            lacks_money=status == "RS_ERROR_NOT_ENOUGH_MONEY",
            balance=told,
        )

    def serve(self, request: VendorRequest, wish: Wish) -> HttpResponse:
        path = urlsplit(request.url).path
        if request.method != "POST" or path not in {f"{self._base}/list", f"{self._base}/url", self._books}:
            raise ValueError(f"no such address: {request.method} {path}")
        signature = b64decode(request.headers[self.signature_header], validate=True)
        OURS.public_key().verify(signature, request.body, padding.PKCS1v15(), SHA256())
        asked = json.loads(request.body)
        if asked["operator_id"] != self._operator:
            raise ValueError("another operator")
        if wish != "grant":
            return HttpResponse(404 if wish == "refuse" else 418, {}, b'{"error":"There is no such game"}')
        if path == self._books:
            return self._tell_books(asked)
        if path.endswith("/list"):
            game = {"game_code": "book", "name": "Book", "enabled": True, "product": "Acme", "category": "Video Slots"}
            return HttpResponse(200, {}, json.dumps([game]).encode())
        if not all(asked[field] for field in self._wanted):
            raise ValueError("a field that must be there is empty")
        return HttpResponse(200, {}, b'{"url":"https://play.example/?t=1"}')

    def _tell_books(self, asked: dict[str, Any]) -> HttpResponse:
        spans = {"start_time", "end_time"} & asked.keys()
        if bool(spans) is ("round" in asked) or any(len(asked[each]) != 19 or asked[each][10] != "T" for each in spans):
            raise ValueError("a span from one second to another, or a round")
        names = ("transaction_uuid", "kind", "status", "amount", "currency")
        items = [
            {
                **dict(zip(names, item, strict=False)),
                "round": "round-1",
                "user": "u",
                "inserted_at": datetime.fromtimestamp(SIGNED_AT_US // 10**6 + item[5], UTC).strftime(
                    "%Y-%m-%dT%H:%M:%S"
                ),
            }
            for item in ITEMS
        ]
        return HttpResponse(200, {}, json.dumps(items).encode())


def make_subject(flavour: Literal["hub88", "caleta"]) -> Subject:
    config = {
        "flavour": flavour,
        "operator_id": "7" if flavour == "hub88" else "aurora",
        "sub_partner_id": "brand",
        "gateway_url": "https://gateway.example/",
        "lobby_url": "https://aurora.example/",
        "private_key": {"secret": "ours"},
        "aggregator_public_key": {"secret": "theirs"},
        "notice_secret": {"secret": "notices"},
    }
    secrets = {
        "notices": NOTICE_SECRET,
        "ours": b64encode(OURS.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode(),
        "theirs": b64encode(THEIRS.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode(),
    }
    return read_subject(Hub88Dialect, config, secrets, Aggregator(flavour))


SUBJECTS = {"hub88": make_subject("hub88"), "caleta": make_subject("caleta")}

KNOWN = {
    # `info` asks whether there is such a player, whatever the currency of the wallet.
    "refusals.understood": "balance as 'info', currency_mismatch",
    # The documents demand a status that ends the attempts: a win is only sent for a bet that was accepted.
    "refusals.retried": "unknown_reference",
}
"""Where the documents ask for something else than the kit: no other fault of these rules is let through."""


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
@pytest.mark.parametrize("flavour", SUBJECTS)
def test_the_plugin_keeps_the_rule(rule: Rule, flavour: str) -> None:
    known = KNOWN.get(rule.name)
    if (rule.name, flavour) == ("driver.pii", "caleta"):
        known = "the manifest declares ip, but a launch sends nothing of it"  # one manifest, and Hub88 is told it
    assert [fault for fault in rule.find_faults(SUBJECTS[flavour]) if known is None or known not in fault] == []


MUTANTS = list_mutants(SUBJECTS["hub88"])


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{each.rule}-{each.name}" for each in MUTANTS])
def test_a_broken_copy_of_the_plugin_is_found(mutant: Mutant) -> None:
    (rule,) = [rule for rule in RULES if rule.name == mutant.rule]
    known = KNOWN.get(mutant.rule)
    faults = [fault for fault in rule.find_faults(mutant.subject) if known is None or known not in fault]
    assert faults, mutant.name


EDITS = [
    ("signature.body", "key.verify(signature, call.body,", "key.verify(signature, call.body.strip(),"),
    ("signature.stranger", "            except InvalidSignature:\n                continue", "            except InvalidSignature:\n                return"),
    ("signature.altered", "        except ValueError:\n            raise", "        except KeyError:\n            raise"),
    ("calls.oversize", "if len(call.body) > mapping.MAX_BODY_BYTES:", "if len(call.body) > 10 * mapping.MAX_BODY_BYTES:"),
    ("calls.malformed", "except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):\n        raise D", "except (msgspec.DecodeError, UnicodeDecodeError):\n        raise D"),
    ("references.beyond", "    if not text.isprintable():", "    if not text:"),
    ("references.beyond", "    if not 0 < len(session) <= MAX_REFERENCE_LENGTH or", "    if not session or"),
    ("calls.meaning", "LegKind.WIN, wire.transaction_uuid, amount_minor, jackpot", "LegKind.WIN, wire.reference_transaction_uuid, amount_minor, jackpot"),
    ("amounts.exact", "    _demand_currency(found[2] in CURRENCIES, request_uuid)", "    _demand_currency(True, request_uuid)"),
    ("duplicates.within", '    if wire.transaction_uuid == wire.reference_transaction_uuid:\n        raise _refuse("transaction_uuid: reverses', '    if not wire.transaction_uuid:\n        raise _refuse("transaction_uuid: reverses'),
    ("capability.jackpots", ", jackpot_minor=jackpot_minor", ""),
    ("capability.free_spins", "        wire.is_free is True,\n", "        False,\n"),
    ("refusals.understood", "mapping.UNKNOWN if status == mapping.NOT_ENOUGH_MONEY else status", "status"),
    ("amounts.beyond", "amount_minor = mapping.find_minor(wire, currency)", "amount_minor = wire * 10 ** CURRENCIES[currency].decimals // 10**5"),
    ("answers.balance", "balance = mapping.compute_wire(answer.balance_minor, call.currency)", "balance = answer.balance_minor * 1000"),
    ("driver.departure", "        except MaybeSent as error:\n            return Unknown(", "        except MaybeSent as error:\n            return Unsent("),
    ("driver.unlisted", "if answered.status in mapping.REFUSING else None", "if answered.status else None"),
    ("transactions.meaning", "mapping.write_request(self._operator_id(), self._config.sub_partner_id, request)", 'mapping.write_request(self._operator_id(), "", TransactionsRequest(request.since_us, request.since_us, request.round))'),
    ("driver.pii", "ip=request.ip if with_platform else", "ip=''  if with_platform else"),
]  # fmt: skip
"""Faults that a hand could make in the module, and the rule that must find each."""


@pytest.mark.parametrize(("rule", "old", "new"), EDITS, ids=[f"{each[0]}-{n}" for n, each in enumerate(EDITS)])
def test_a_fault_of_the_hand_is_found(rule: str, old: str, new: str) -> None:
    broken = edit_source(SUBJECTS["hub88"], "driver.py", old, new)
    assert [each.name for each in RULES if each.name == rule and each.find_faults(broken)], (old, new)


def test_every_rule_has_been_seen_to_fail() -> None:
    assert {mutant.rule for mutant in MUTANTS} == {rule.name for rule in RULES}
