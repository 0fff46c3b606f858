"""The four callbacks: signatures, parsing, answers, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from beexar import WalletServer
from beexar import verify as beexar_verify
from hypothesis import given
from hypothesis import strategies as st

from pitboss_plugins.games.softswiss import mapping
from pitboss_plugins.games.softswiss.config import SoftswissConfig
from pitboss_plugins.games.softswiss.driver import SoftswissDialect
from pitboss_sdk.games import (
    MAX_LEGS,
    MAX_REFERENCE_LENGTH,
    CallKind,
    DialectRefusal,
    Leg,
    LegAnswer,
    LegKind,
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.money import CURRENCIES, decimal_from_minor
from pitboss_sdk.plugin import InvalidConfiguration
from pitboss_sdk.secrets import SecretRef

PLAY: dict[str, Any] = {
    "account_id": "p-1",
    "currency": "EUR",
    "game_id": "book",
    "round_id": "r-1",
    "session_id": "s-1",
    "finished": True,
    "transactions": [
        {"id_provider": "b-1", "type": "bet", "amount": "1.50"},
        {"id_provider": "w-1", "type": "win", "amount": "3"},
    ],
}
ROLLBACK: dict[str, Any] = {
    "account_id": "p-1",
    "currency": "EUR",
    "game_id": "book",
    "round_id_provider": "r-1",
    "finished": False,
    "transactions": [{"id_provider": "k-1", "type": "rollback", "original_id_provider": "b-1"}],
}


def with_(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    merged = {**body, **changes}
    return {key: value for key, value in merged.items() if value is not ...}


def movement(**changes: Any) -> dict[str, Any]:
    return with_(PLAY, transactions=[{"id_provider": "b-1", "type": "bet", "amount": "1.50", **changes}])


def refusal_of(dialect: SoftswissDialect, call: RawCall) -> DialectRefusal:
    try:
        dialect.verify(call)
        dialect.parse(call)
    except DialectRefusal as refused:
        return refused
    raise AssertionError("the call was let through")


# --- signatures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [  # computed with `openssl dgst -sha256 -hmac`
        ("secret", b"{}", "77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13"),
        (
            "key",
            b"The quick brown fox jumps over the lazy dog",
            "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
        ),
    ],
)
def test_signature_is_lower_hex_hmac_sha256_of_the_raw_body(secret: str, body: bytes, signature: str) -> None:
    config = SoftswissConfig(casino_id="c", gateway_url="https://g.example", api_secret=SecretRef("s"))
    dialect = SoftswissDialect(config, {"s": secret})
    dialect.verify(RawCall("balance", {"x-request-sign": signature}, body))
    assert beexar_verify(body, signature, secret)
    for wrong in (signature.upper(), signature[:-1], signature + "0", " " + signature, "0" * 64, "", "é" * 64):
        with pytest.raises(DialectRefusal) as caught:
            dialect.verify(RawCall("balance", {"x-request-sign": wrong}, body))
        assert caught.value.refusal is Refusal.SIGNATURE_INVALID


def test_both_secrets_of_a_rotation_are_accepted_and_no_other(
    dialect: SoftswissDialect, sign: Any, secret: str, previous_secret: str
) -> None:
    dialect.verify(sign("balance", b"{}", secret))
    dialect.verify(sign("balance", b"{}", previous_secret))
    assert refusal_of(dialect, sign("balance", b"{}", "another")).refusal is Refusal.SIGNATURE_INVALID
    assert refusal_of(dialect, RawCall("balance", {}, b"{}")).refusal is Refusal.SIGNATURE_INVALID


def test_signature_covers_bytes_not_meaning(dialect: SoftswissDialect, sign: Any) -> None:
    call = sign("betwin", PLAY)
    respaced = RawCall("betwin", call.headers, json.dumps(PLAY).encode())
    assert refusal_of(dialect, respaced).refusal is Refusal.SIGNATURE_INVALID


def test_large_body_is_refused_before_its_signature_is_computed(dialect: SoftswissDialect, sign: Any) -> None:
    fits = b'{"account_id":"p-1","currency":"EUR","game_id":"g","x":"' + b"a" * 60_000 + b'"}'
    dialect.parse(sign("balance", fits))
    too_large = RawCall("balance", {"x-request-sign": "0" * 64}, b" " * (64 * 1024 + 1))
    assert refusal_of(dialect, too_large).refusal is Refusal.MALFORMED


@pytest.mark.parametrize("secrets", [{}, {"s": ""}, {"s": " \n"}])
def test_empty_secret_is_no_secret(secrets: dict[str, str]) -> None:
    config = SoftswissConfig(casino_id="c", gateway_url="https://g.example", api_secret=SecretRef("s"))
    with pytest.raises(InvalidConfiguration, match="'s' is missing or empty"):
        SoftswissDialect(config, secrets)


# --- configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example",
        "gateway.example",
        "https://user:pw@gateway.example",
        "https://",
        "ftp://gateway.example",
        "https://gateway.example:99999",
        "https://gateway.example/?a=1",
        "https://gate way.example",
        "javascript://gateway.example",
        "",
    ],
)
def test_gateway_must_be_a_safe_address(url: str) -> None:
    table = {"casino_id": "c", "gateway_url": url, "api_secret": {"secret": "s"}}
    with pytest.raises(msgspec.ValidationError, match="gateway_url"):
        msgspec.convert(table, SoftswissConfig)


@pytest.mark.parametrize("url", ["https://gateway.example/base/", "http://127.0.0.1:8099", "http://sim.localhost:1"])
def test_gateway_may_be_https_or_this_machine(url: str) -> None:
    table = {"casino_id": "c", "gateway_url": url, "api_secret": {"secret": "s"}}
    assert msgspec.convert(table, SoftswissConfig).gateway_url == url


# --- parsing ------------------------------------------------------------------------------------------------


def test_betwin_becomes_a_play_with_its_legs_in_order(dialect: SoftswissDialect, sign: Any) -> None:
    assert dialect.parse(sign("betwin", PLAY)) == WalletCall(
        CallKind.PLAY,
        account="p-1",
        currency="EUR",
        game="book",
        session="s-1",
        round="r-1",
        round_finished=True,
        legs=(Leg(LegKind.BET, "b-1", 150), Leg(LegKind.WIN, "w-1", 300)),
    )


def test_rollback_names_what_it_reverses(dialect: SoftswissDialect, sign: Any) -> None:
    assert dialect.parse(sign("rollback", ROLLBACK)) == WalletCall(
        CallKind.ROLLBACK,
        account="p-1",
        currency="EUR",
        game="book",
        round="r-1",
        legs=(Leg(LegKind.ROLLBACK, "k-1", 0, "b-1"),),
    )


def test_rollback_needs_neither_game_nor_finished(dialect: SoftswissDialect, sign: Any) -> None:
    call = dialect.parse(sign("rollback", with_(ROLLBACK, game_id=..., finished=...)))
    assert (call.game, call.round_finished) == ("", False)


def test_balance_and_finish(dialect: SoftswissDialect, sign: Any) -> None:
    body = {"account_id": "p-1", "currency": "BTC", "game_id": "g", "session_id": None, "unknown": [1, {"a": None}]}
    assert dialect.parse(sign("balance", body)) == WalletCall(CallKind.BALANCE, "p-1", "BTC", "g")
    finish = {"account_id": "p-1", "currency": "BTC", "round_id": "r-1", "session_id": "s-1"}
    expected = WalletCall(CallKind.FINISH, "p-1", "BTC", session="s-1", round="r-1", round_finished=True)
    assert dialect.parse(sign("finish", finish)) == expected


@pytest.mark.parametrize(
    ("currency", "text", "amount_minor"),
    [
        ("JPY", "150", 150),
        ("JPY", "150.00", 150),
        ("EUR", "0.01", 1),
        ("EUR", "0001.5", 150),
        ("EUR", "92233720368547758.07", 2**63 - 1),
        ("KWD", "1.234", 1234),
        ("BTC", "0.00000001", 1),
        ("BTC", "21000000", 2_100_000_000_000_000),
    ],
)
def test_amounts_are_exact(dialect: SoftswissDialect, sign: Any, currency: str, text: str, amount_minor: int) -> None:
    call = dialect.parse(sign("betwin", with_(movement(amount=text), currency=currency)))
    assert call.legs[0].amount_minor == amount_minor


@given(
    amount_minor=st.integers(min_value=1, max_value=2**63 - 1),
    currency=st.sampled_from(["JPY", "EUR", "KWD", "USDT", "BTC"]),
    kind=st.sampled_from(["bet", "win"]),
)
def test_amounts_survive_the_round_trip(
    dialect: SoftswissDialect, sign: Any, amount_minor: int, currency: str, kind: str
) -> None:
    text = decimal_from_minor(amount_minor, CURRENCIES[currency].decimals)
    call = dialect.parse(sign("betwin", with_(movement(amount=text, type=kind), currency=currency)))
    assert call.legs[0].amount_minor == amount_minor
    told = dialect.render(call, WalletAnswer(None, amount_minor, "r", (LegAnswer("b-1", "t", amount_minor),)))
    body = json.loads(told.body)
    assert body["balance"] == body["transactions"][0]["bonus_amount"] == text


@pytest.mark.parametrize(
    "text",
    [
        *("0", "0.00", "-1", "+1", "1e2", "1E2", ".5", "5.", "", " 1", "1 ", "1\n", "1,5", "0x10", "1_000", "NaN"),
        *("Infinity", "\u0661", "1.001", "92233720368547758.08", "9" * 41, "0." + "0" * 17 + "1", "1.5.5"),
    ],
)
def test_amount_that_is_not_a_plain_positive_decimal_is_refused(
    dialect: SoftswissDialect, sign: Any, text: str
) -> None:
    refused = refusal_of(dialect, sign("betwin", movement(amount=text)))
    assert refused.refusal is Refusal.MALFORMED
    assert "amount" in refused.detail


MALFORMED = {
    "nothing": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "number": b"1",
    "cut": b'{"account_id":"p-1"',
    "trailing": json.dumps(PLAY).encode() + b"x",
    "bom": b"\xef\xbb\xbf" + json.dumps(PLAY).encode(),
    "utf16": json.dumps(PLAY).encode("utf-16"),
    "invalid utf-8 in a field": json.dumps(PLAY).encode().replace(b"p-1", b"p-\xff"),
    "invalid utf-8 in an unknown field": json.dumps(PLAY).encode().replace(b'{"acc', b'{"x":"\xff","acc', 1),
    "invalid utf-8 in an unknown key": json.dumps(PLAY).encode().replace(b'{"acc', b'{"\xff":1,"acc', 1),
    "NaN": json.dumps(PLAY).encode().replace(b'{"acc', b'{"x":NaN,"acc', 1),
    "deep": json.dumps(PLAY).encode().replace(b'{"acc', b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b',"acc', 1),
    "lone surrogate": json.dumps(with_(PLAY, account_id="p\ud800")).encode(),
    "nul": json.dumps(with_(PLAY, account_id="p\x00")).encode(),
    "control": json.dumps(with_(PLAY, round_id="r\n")).encode(),
    **{
        name: json.dumps(body).encode()
        for name, body in {
            "account missing": with_(PLAY, account_id=...),
            "account empty": with_(PLAY, account_id=""),
            "account null": with_(PLAY, account_id=None),
            "account number": with_(PLAY, account_id=7),
            "account too long": with_(PLAY, account_id="p" * (MAX_REFERENCE_LENGTH + 1)),
            "game missing": with_(PLAY, game_id=...),
            "round missing": with_(PLAY, round_id=...),
            "finished text": with_(PLAY, finished="true"),
            "finished number": with_(PLAY, finished=1),
            "session number": with_(PLAY, session_id=7),
            "transactions missing": with_(PLAY, transactions=...),
            "transactions empty": with_(PLAY, transactions=[]),
            "transactions object": with_(PLAY, transactions={}),
            "transaction null": with_(PLAY, transactions=[None]),
            "too many": with_(
                PLAY,
                transactions=[{"id_provider": f"b{n}", "type": "bet", "amount": "1"} for n in range(MAX_LEGS + 1)],
            ),
            "twice": with_(
                PLAY,
                transactions=[
                    {"id_provider": "b-1", "type": "bet", "amount": "1"},
                    {"id_provider": "b-1", "type": "win", "amount": "1"},
                ],
            ),
            "type unknown": movement(type="rollback"),
            "type missing": with_(PLAY, transactions=[{"id_provider": "b-1", "amount": "1"}]),
            "id number": movement(id_provider=5),
            "id empty": movement(id_provider=""),
            "amount number": movement(amount=1),
            "amount float": movement(amount=1.5),
            "amount null": movement(amount=None),
            "currency lower": with_(PLAY, currency="eur"),
            "currency short": with_(PLAY, currency="EU"),
            "currency newline": with_(PLAY, currency="EUR\n"),
            "currency null": with_(PLAY, currency=None),
        }.items()
    },
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_body_is_refused(dialect: SoftswissDialect, sign: Any, name: str) -> None:
    body = MALFORMED[name]
    assert len(body) <= mapping.MAX_BODY_BYTES
    refused = refusal_of(dialect, sign("betwin", body))
    assert refused.refusal is Refusal.MALFORMED
    told = dialect.render_refusal(refused.refusal, refused.detail)
    assert (told.status, json.loads(told.body)["meta"]["api_code"]) == (400, "400")


STRICTER = {
    *("NaN", "deep", "nul", "control", "lone surrogate", "account too long", "too many", "twice"),
    *("finished text", "finished number", "session number", "currency newline"),
}
"""Where the dialect refuses what the aggregator's own server lets through; the README says why."""


class NeverReached:
    def bet_win(self, _request: Any, _context: Any) -> None:
        raise LookupError("a malformed body came through")


@pytest.mark.parametrize("name", sorted(MALFORMED.keys() - STRICTER))
def test_the_aggregators_own_server_finds_the_same_bodies_malformed(
    dialect: SoftswissDialect, sign: Any, secret: str, name: str
) -> None:
    raw = sign("betwin", MALFORMED[name])
    expected = WalletServer(NeverReached(), secret).dispatch("/betwin", raw.body, raw.headers["x-request-sign"])
    refused = refusal_of(dialect, raw)
    told = dialect.render_refusal(refused.refusal, refused.detail)
    ours, theirs = json.loads(told.body), json.loads(expected.body)
    assert (told.status, ours["code"], ours["meta"].keys()) == (expected.status, theirs["code"], theirs["meta"].keys())
    assert ours["meta"]["api_code"] == theirs["meta"]["api_code"] == "400"


def test_duplicate_keys_of_an_object_are_read_like_the_aggregator_reads_them(
    dialect: SoftswissDialect, sign: Any
) -> None:
    body = b'{"account_id":"p-1","account_id":"p-2","currency":"EUR","game_id":"g"}'
    assert dialect.parse(sign("balance", body)).account == json.loads(body)["account_id"] == "p-2"


def test_numbers_of_unknown_fields_are_never_computed(dialect: SoftswissDialect, sign: Any) -> None:
    body = json.dumps(PLAY).encode().replace(b'{"acc', b'{"x":1e999999999,"y":' + b"9" * 50_000 + b',"acc', 1)
    assert len(dialect.parse(sign("betwin", body)).legs) == 2


def test_rollback_of_itself_and_twice_the_same_rollback_are_malformed(dialect: SoftswissDialect, sign: Any) -> None:
    once = ROLLBACK["transactions"][0]
    for transactions in ([{**once, "original_id_provider": "k-1"}], [once, once], [{**once, "type": "bet"}]):
        refused = refusal_of(dialect, sign("rollback", with_(ROLLBACK, transactions=transactions)))
        assert refused.refusal is Refusal.MALFORMED


def test_a_currency_that_is_not_ours_is_told_apart_from_one_that_is_none(dialect: SoftswissDialect, sign: Any) -> None:
    for body in (with_(PLAY, currency="CUSTOM_WIN"), with_(ROLLBACK, currency="XYZ")):
        operation = "betwin" if body["currency"] == "CUSTOM_WIN" else "rollback"
        assert refusal_of(dialect, sign(operation, body)).refusal is Refusal.CURRENCY_MISMATCH


@pytest.mark.parametrize("operation", ["", "bet", "BETWIN", "betwin/", "__class__"])
def test_other_operations_are_unknown(dialect: SoftswissDialect, sign: Any, operation: str) -> None:
    assert refusal_of(dialect, sign(operation, PLAY)).refusal is Refusal.OPERATION_UNKNOWN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(sorted({*PLAY, *ROLLBACK, "id_provider", "type", "amount", "original_id_provider"}))


@given(
    operation=st.sampled_from(["balance", "betwin", "rollback", "finish", "other"]),
    body=st.binary(max_size=200)
    | st.dictionaries(fields, json_values).map(lambda made: json.dumps(made).encode())
    | st.dictionaries(fields, json_values).map(lambda made: json.dumps({**PLAY, **ROLLBACK, **made}).encode()),
    headers=st.dictionaries(st.just("x-request-sign") | st.text(max_size=5), st.text(max_size=70)),
)
def test_nothing_but_a_dialect_refusal_leaves_verify_and_parse(
    dialect: SoftswissDialect, operation: str, body: bytes, headers: dict[str, str]
) -> None:
    call = RawCall(operation, headers, body)
    for step in (dialect.verify, dialect.parse):
        try:
            step(call)
        except DialectRefusal as refused:
            told = dialect.render_refusal(refused.refusal, refused.detail)
            assert told.status in {400, 500}
            assert msgspec.json.decode(told.body, type=mapping.ErrorAnswer).meta.api_code


# --- answers ------------------------------------------------------------------------------------------------


def test_answers_have_the_exact_shapes(dialect: SoftswissDialect, sign: Any) -> None:
    play = dialect.parse(sign("betwin", PLAY))
    told = dialect.render(play, WalletAnswer(None, 11, "our-r", (LegAnswer("b-1", "t1", 50), LegAnswer("w-1", "t2"))))
    assert (told.status, told.content_type) == (200, "application/json")
    assert told.body == (
        b'{"round_id":"our-r","transactions":[{"id_provider":"b-1","id":"t1","bonus_amount":"0.50"},'
        b'{"id_provider":"w-1","id":"t2","bonus_amount":"0.00"}],"balance":"0.11"}'
    )
    back = dialect.parse(sign("rollback", ROLLBACK))
    told = dialect.render(back, WalletAnswer(None, 150, "our-r", (LegAnswer("k-1", "t3"),)))
    assert told.body == b'{"balance":"1.50","round_id":"our-r","transactions":[{"id_provider":"k-1","id":"t3"}]}'
    finish = dialect.parse(sign("finish", {"account_id": "p", "currency": "KWD", "round_id": "r"}))
    assert dialect.render(finish, WalletAnswer(None, 1)).body == b'{"balance":"0.001"}'


def test_rollback_with_nothing_to_do_has_an_empty_id_and_a_round(dialect: SoftswissDialect, sign: Any) -> None:
    back = dialect.parse(sign("rollback", ROLLBACK))
    told = dialect.render(back, WalletAnswer(None, 0, "", (LegAnswer("k-1", ""),)))
    assert told.status == 200
    assert json.loads(told.body) == {
        "balance": "0.00",
        "round_id": "r-1",
        "transactions": [{"id_provider": "k-1", "id": ""}],
    }


EXPECTED = {
    Refusal.INSUFFICIENT_FUNDS: (400, "100", "12.34"),
    Refusal.PLAYER_UNKNOWN: (400, "101", None),
    Refusal.SESSION_INVALID: (400, "101", None),
    Refusal.LIMIT_REACHED: (400, "105", "12.34"),
    Refusal.GAME_FORBIDDEN: (400, "107", None),
    Refusal.PLAYER_BLOCKED: (400, "110", None),
    Refusal.CURRENCY_MISMATCH: (400, "154", None),
    Refusal.MALFORMED: (400, "400", None),
    Refusal.REFERENCE_MISUSED: (400, "400", None),
    Refusal.ROUND_CLOSED: (400, "400", None),
    Refusal.SIGNATURE_INVALID: (400, "403", None),
    Refusal.OPERATION_UNKNOWN: (400, "404", None),
    Refusal.TENANT_UNKNOWN: (400, "404", None),
    Refusal.ROLLED_BACK: (400, "409", None),
    Refusal.ALREADY_REVERSED: (400, "409", None),
    Refusal.UNKNOWN_REFERENCE: (500, "500", None),
    Refusal.INTERNAL: (500, "500", None),
    Refusal.UNAVAILABLE: (500, "503", None),
}


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_its_code(dialect: SoftswissDialect, sign: Any, refusal: Refusal) -> None:
    status, api_code, balance = EXPECTED[refusal]
    told = dialect.render(dialect.parse(sign("betwin", PLAY)), WalletAnswer(refusal, 1234, "r"))
    body = json.loads(told.body)
    assert told.status == status
    assert body["code"] == ("invalid_argument" if status == 400 else "internal")
    assert body["meta"] == {
        "api_code": api_code,
        "api_message": body["msg"],
        **({"balance": balance} if balance else {}),
    }
    assert body["msg"]


@pytest.mark.parametrize("refusal", [Refusal.INSUFFICIENT_FUNDS, Refusal.LIMIT_REACHED])
def test_a_code_that_must_tell_the_balance_is_never_sent_without(
    dialect: SoftswissDialect, sign: Any, refusal: Refusal
) -> None:
    call = dialect.parse(sign("betwin", PLAY))
    for told in (dialect.render(call, WalletAnswer(refusal, None)), dialect.render_refusal(refusal)):
        assert (told.status, json.loads(told.body)["meta"]["api_code"]) == (500, "500")


@pytest.mark.parametrize("refusal", [Refusal.UNKNOWN_REFERENCE, Refusal.ROUND_CLOSED])
def test_finish_of_a_round_that_needs_none_is_a_yes(dialect: SoftswissDialect, sign: Any, refusal: Refusal) -> None:
    finish = dialect.parse(sign("finish", {"account_id": "p", "currency": "EUR", "round_id": "never-seen"}))
    assert dialect.render(finish, WalletAnswer(refusal, 5)).body == b'{"balance":"0.05"}'
    assert dialect.render(finish, WalletAnswer(Refusal.PLAYER_UNKNOWN, None)).status == 400


def test_what_happened_inside_is_not_told(dialect: SoftswissDialect) -> None:
    for refusal in (Refusal.INTERNAL, Refusal.UNAVAILABLE, Refusal.SIGNATURE_INVALID):
        assert b"10.0.0.7" not in dialect.render_refusal(refusal, "connection to 10.0.0.7 lost").body
    assert b"round_id" in dialect.render_refusal(Refusal.MALFORMED, "round_id is missing").body
