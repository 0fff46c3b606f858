"""The conformance kit, with Acme as its documents describe it."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from pitboss_plugins.games.acme.config import AcmeConfig
from pitboss_plugins.games.acme.driver import AcmeDialect
from pitboss_sdk.games import CallKind, DialectResponse, RawCall
from pitboss_sdk.money import CURRENCIES, InvalidAmount, decimal_from_minor, minor_from_decimal
from pitboss_sdk.plugin import HttpResponse
from pitboss_sdk.secrets import SecretRef
from pitboss_sdk.testing import (
    RULES,
    Intent,
    Mutant,
    Reading,
    Rule,
    VendorRequest,
    Wish,
    Written,
    list_mutants,
    read_subject,
)

SECRET = "a-key-of-the-tests"
WORDS = {
    *("NO_FUNDS", "LIMIT", "BLOCKED", "NO_PLAYER", "NO_GAME", "NO_CURRENCY"),
    *("ROLLED_BACK", "INVALID", "DENIED", "RETRY"),
}


def sign(body: bytes, key: str = SECRET) -> str:
    return b64encode(hmac.new(key.encode(), body, "sha256").digest()).decode()


class Acme:
    """Acme's side: it sends wallet calls and takes launches. Written from its documents, not from the plugin."""

    signature_header = "x-acme-signature"
    amount_decimals = None  # amounts are in minor units, so each currency has its own
    refused_currencies: frozenset[str] = frozenset()

    def write(self, intent: Intent) -> Written | None:
        body: dict[str, Any] = {
            "player": intent.account,
            "currency": intent.currency,
            "session": intent.session,
            "game": intent.game,
        }
        if intent.kind is CallKind.BALANCE:
            return Written("balance", json.dumps(body).encode())
        if len(intent.movements) != 1 or intent.free_spin or intent.jackpot_pool:
            return None  # Acme has no words for it
        (movement,) = intent.movements
        body |= {"round": intent.round, "id": movement.reference, "last": intent.finished}
        if intent.kind is CallKind.ROLLBACK:
            return Written("rollback", json.dumps({**body, "original": movement.reverses}).encode())
        cents = say_cents(movement.amount, intent.currency)
        if cents is None:
            return None
        return Written(movement.kind.name.lower(), json.dumps({**body, "cents": cents}).encode())

    def sign(self, operation: str, body: bytes, *, stranger: bool = False) -> Mapping[str, str]:
        return {"x-acme-signature": sign(body, "another" if stranger else SECRET)}

    def read(self, written: Written | None, response: DialectResponse) -> Reading:
        answer = json.loads(response.body)
        word, balance = answer["status"], answer.get("balance")
        if response.status not in {200, 503} or (response.status == 503) is not (word == "RETRY"):
            raise ValueError(f"no document lists HTTP {response.status} with {word}")
        told = None
        if balance is not None:
            if written is None:
                raise ValueError("a balance in answer to nothing")
            told = decimal_from_minor(balance, CURRENCIES[json.loads(written.body)["currency"]].decimals)
        if word == "OK":
            moved = written is not None and written.operation != "balance"
            return Reading(
                accepted=True, code=word, balance=told, transactions=(answer.get("transaction", ""),) if moved else ()
            )
        if word not in WORDS:
            raise ValueError(f"no document lists {word}")
        return Reading(
            accepted=False,
            code=word,
            retries=response.status == 503,
            lacks_money=word == "NO_FUNDS",
            balance=told,
        )

    def serve(self, request: VendorRequest, wish: Wish) -> HttpResponse:
        if request.headers["x-acme-signature"] != sign(request.body):
            raise ValueError("the signature is wrong")
        if wish != "grant":
            return HttpResponse(409 if wish == "refuse" else 418, {}, b"")
        if (request.method, request.url) == ("GET", "https://gateway.acme.example/games"):
            return HttpResponse(200, {}, b'{"games":[{"code":"book","title":"Book"}]}')
        if (request.method, request.url) == ("POST", "https://gateway.acme.example/launch"):
            asked = json.loads(request.body)
            if not (asked["player"] and asked["session"] and asked["game"] and asked["currency"]):
                raise ValueError("a field that must be there is empty")
            return HttpResponse(200, {}, b"https://play.acme.example/1")
        raise ValueError(f"no such address: {request.method} {request.url}")


def say_cents(amount: str, currency: str) -> int | None:
    """Return an amount as Acme writes it; None where no whole number says it."""
    decimals = CURRENCIES[currency].decimals if currency in CURRENCIES else 2
    try:
        return minor_from_decimal(amount, decimals)
    except InvalidAmount:
        scaled = Decimal(amount).scaleb(decimals)
        return int(scaled) if scaled == scaled.to_integral_value() else None


SUBJECT = read_subject(
    AcmeDialect,
    {"gateway_url": "https://gateway.acme.example", "api_secret": {"secret": "acme-api-secret"}},
    {"acme-api-secret": SECRET},
    Acme(),
)
MUTANTS = list_mutants(SUBJECT)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_the_plugin_keeps_the_rule(rule: Rule) -> None:
    faults = rule.find_faults(SUBJECT)
    if faults:
        pytest.fail("\n  ".join((rule.sentence, *faults)), pytrace=False)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{each.rule}-{each.name}" for each in MUTANTS])
def test_a_broken_copy_of_the_plugin_is_found(mutant: Mutant) -> None:
    (rule,) = [rule for rule in RULES if rule.name == mutant.rule]
    if not rule.find_faults(mutant.subject):
        pytest.fail(f"{mutant.name}, and {mutant.rule} does not see it", pytrace=False)


def test_a_signature_that_somebody_else_computed() -> None:
    # printf '{}' | openssl dgst -sha256 -hmac secret -binary | base64
    signature = "dzJZAsrKgS3CWXM6rNBGtzgXNyx3e42VtAJkdHRRbhM="
    config = AcmeConfig("https://acme.example", SecretRef("acme-api-secret"))
    AcmeDialect(config, {"acme-api-secret": "secret"}).verify(
        RawCall("balance", {"x-acme-signature": signature}, b"{}")
    )
