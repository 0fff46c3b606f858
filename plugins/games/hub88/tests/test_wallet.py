"""The five callbacks: parsing, amounts, answers, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss_plugins.games.hub88 import mapping
from pitboss_plugins.games.hub88.driver import Hub88Call, Hub88Dialect
from pitboss_sdk.games import (
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
from pitboss_sdk.money import CURRENCIES

TOKEN = "s-1.p-1.EUR"
BET: dict[str, Any] = {
    "token": TOKEN,
    "transaction_uuid": "b-1",
    "request_uuid": "u-1",
    "supplier_user": "someone else's name",
    "round": "r-1",
    "round_closed": False,
    "is_free": False,
    "game_code": "book",
    "currency": "EUR",
    "amount": 150_000,
    "bet": "extra ball",
}
WIN: dict[str, Any] = {**BET, "transaction_uuid": "w-1", "reference_transaction_uuid": "b-1", "amount": 300_000}
ROLLBACK: dict[str, Any] = {
    "token": TOKEN,
    "transaction_uuid": "k-1",
    "reference_transaction_uuid": "b-1",
    "request_uuid": "u-2",
    "round": "r-1",
    "round_closed": False,
    "game_code": "book",
}
BALANCE: dict[str, Any] = {"token": TOKEN, "request_uuid": "u-3", "game_code": "book"}
INFO: dict[str, Any] = {"user": "p-1", "request_uuid": "u-4"}
BODIES = {"info": INFO, "balance": BALANCE, "bet": BET, "win": WIN, "rollback": ROLLBACK}


def with_(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    merged = {**body, **changes}
    return {key: value for key, value in merged.items() if value is not ...}


def in_currency(body: dict[str, Any], currency: str, **changes: Any) -> dict[str, Any]:
    return with_(body, token=f"s-1.p-1.{currency}", currency=currency, **changes)


def refusal_of(dialect: Hub88Dialect, call: RawCall) -> DialectRefusal:
    try:
        dialect.parse(call)
    except DialectRefusal as refused:
        return refused
    raise AssertionError("the call was let through")


def told(dialect: Hub88Dialect, refused: DialectRefusal) -> dict[str, Any]:
    response = dialect.render_refusal(refused.refusal, refused.detail)
    assert (response.status, response.content_type) == (200, "application/json")
    return json.loads(response.body)


# --- parsing ------------------------------------------------------------------------------------------------


def test_bet_and_win_are_one_movement_each(dialect: Hub88Dialect, unsigned: Any) -> None:
    assert dialect.parse(unsigned("bet", BET)) == Hub88Call(
        CallKind.PLAY,
        account="p-1",
        currency="EUR",
        game="book",
        session="s-1",
        round="r-1",
        legs=(Leg(LegKind.BET, "b-1", 150),),
        request_uuid="u-1",
    )
    won = dialect.parse(unsigned("win", with_(WIN, round_closed=True)))
    assert (won.legs, won.round_finished, won.free_spin) == ((Leg(LegKind.WIN, "w-1", 300),), True, False)


def test_rollback_names_what_it_reverses(dialect: Hub88Dialect, unsigned: Any) -> None:
    assert dialect.parse(unsigned("rollback", with_(ROLLBACK, user="p-1"))) == Hub88Call(
        CallKind.ROLLBACK,
        account="p-1",
        currency="EUR",
        game="book",
        session="s-1",
        round="r-1",
        legs=(Leg(LegKind.ROLLBACK, "k-1", 0, "b-1"),),
        request_uuid="u-2",
    )
    call = dialect.parse(unsigned("rollback", with_(ROLLBACK, game_code=..., round_closed=...)))
    assert (call.game, call.round_finished) == ("", False)


def test_balance_and_info(dialect: Hub88Dialect, unsigned: Any) -> None:
    expected = Hub88Call(CallKind.BALANCE, "p-1", "EUR", "book", "s-1", request_uuid="u-3")
    for body in (BALANCE, with_(BALANCE, user="p-1", unknown=[1, {"a": None}])):
        assert dialect.parse(unsigned("balance", body)) == expected
    info = dialect.parse(unsigned("info", INFO))
    assert (info.kind, info.account, info.legs) == (CallKind.BALANCE, "p-1", ())


def test_jackpot_is_a_part_of_the_win(dialect: Hub88Dialect, unsigned: Any) -> None:
    call = dialect.parse(unsigned("win", with_(WIN, amount=500_000, jackpot_win=200_000)))
    assert call.legs == (Leg(LegKind.WIN, "w-1", 500, jackpot_minor=200),)
    more = refusal_of(dialect, unsigned("win", with_(WIN, amount=500_000, jackpot_win=501_000)))
    assert more.refusal is Refusal.MALFORMED


@pytest.mark.parametrize("closed", [True, False])
def test_a_free_bet_and_a_win_of_nothing_move_nothing(dialect: Hub88Dialect, unsigned: Any, closed: bool) -> None:
    kind = CallKind.FINISH if closed else CallKind.BALANCE
    for operation, body in (
        ("bet", with_(BET, is_free=True, reward_uuid="x", campaign_uuid="y")),
        ("bet", with_(BET, is_free=True, amount=0)),
        ("win", with_(WIN, amount=0)),
    ):
        call = dialect.parse(unsigned(operation, with_(body, round_closed=closed)))
        assert (call.kind, call.legs, call.round_finished, call.round) == (kind, (), closed, "r-1")


def test_a_free_win_is_paid_and_marked(dialect: Hub88Dialect, unsigned: Any) -> None:
    call = dialect.parse(unsigned("win", with_(WIN, is_free=True)))
    assert (call.kind, call.legs, call.free_spin) == (CallKind.PLAY, (Leg(LegKind.WIN, "w-1", 300),), True)


def test_a_bet_of_nothing_is_refused(dialect: Hub88Dialect, unsigned: Any) -> None:
    refused = refusal_of(dialect, unsigned("bet", with_(BET, amount=0)))
    assert told(dialect, refused) == {"status": "RS_ERROR_WRONG_SYNTAX", "request_uuid": "u-1"}


# --- tokens -------------------------------------------------------------------------------------------------

STRANGE_TOKENS = ["", "x", "f562a685-a160-4d17-876d-ab3363db331c", ".p.EUR", "s..EUR", "s.p.EUR."]


@pytest.mark.parametrize("operation", ["balance", "bet", "win", "rollback"])
@pytest.mark.parametrize("token", [*STRANGE_TOKENS, None, ..., "a.b.c.EUR", "s" * 129 + ".p.EUR"])
def test_a_token_that_is_not_ours_is_refused(dialect: Hub88Dialect, unsigned: Any, operation: str, token: Any) -> None:
    body = with_(BODIES[operation], token=token)
    refused = refusal_of(dialect, unsigned(operation, body))
    assert refused.refusal is Refusal.MALFORMED
    assert told(dialect, refused) == {"status": "RS_ERROR_INVALID_TOKEN", "request_uuid": body["request_uuid"]}


@pytest.mark.parametrize("operation", ["balance", "bet", "win", "rollback"])
def test_a_token_of_another_user_is_refused(dialect: Hub88Dialect, unsigned: Any, operation: str) -> None:
    refused = refusal_of(dialect, unsigned(operation, with_(BODIES[operation], user="p-2")))
    assert told(dialect, refused)["status"] == "RS_ERROR_INVALID_TOKEN"


@pytest.mark.parametrize("token", [*STRANGE_TOKENS, None, ...])
def test_a_win_needs_no_token_where_the_user_is_named(dialect: Hub88Dialect, unsigned: Any, token: Any) -> None:
    call = dialect.parse(unsigned("win", with_(WIN, token=token, user="p-1")))
    assert (call.account, call.currency, call.session, call.legs[0].amount_minor) == ("p-1", "EUR", "", 300)


@pytest.mark.parametrize("currency", ["USD", "XXX", "uBTC", "schmeckles", "eur", ""])
def test_another_currency_than_the_sessions_is_refused(dialect: Hub88Dialect, unsigned: Any, currency: str) -> None:
    for operation in ("bet", "win"):
        refused = refusal_of(dialect, unsigned(operation, with_(BODIES[operation], currency=currency)))
        assert refused.refusal is Refusal.CURRENCY_MISMATCH
        assert told(dialect, refused) == {"status": "RS_ERROR_WRONG_CURRENCY", "request_uuid": "u-1"}
    if currency not in CURRENCIES:
        refused = refusal_of(dialect, unsigned("balance", with_(BALANCE, token=f"s.p.{currency}")))
        assert told(dialect, refused)["status"] == "RS_ERROR_WRONG_CURRENCY"


# --- amounts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "wire", "amount_minor"),
    [
        ("JPY", 100_000, 1),
        ("JPY", 15_000_000, 150),
        ("JPY", 9_223_372_036_854_700_000, 92_233_720_368_547),
        ("EUR", 1_000, 1),
        ("EUR", 356_000, 356),
        ("EUR", 2**63 - 808, 9_223_372_036_854_775),
        ("KWD", 100, 1),
        ("KWD", 123_400, 1_234),
        ("USDT", 1, 10),
        ("BTC", 1, 1_000),
        ("BTC", 2_100_000_000_000, 2_100_000_000_000_000),
        ("BTC", (2**63 - 1) // 1_000, (2**63 - 1) // 1_000 * 1_000),
    ],
)
def test_amounts_are_exact(dialect: Hub88Dialect, unsigned: Any, currency: str, wire: int, amount_minor: int) -> None:
    for operation, body in (("bet", BET), ("win", WIN)):
        call = dialect.parse(unsigned(operation, in_currency(body, currency, amount=wire)))
        assert call.legs[0].amount_minor == amount_minor


@pytest.mark.parametrize(
    ("currency", "wire"),
    [
        *[("JPY", wire) for wire in (1, 50_000, 99_999, 100_001, 2**63 - 1)],
        *[("EUR", wire) for wire in (1, 100, 500, 999, 1_001, 356_001, 2**63 - 1)],
        *[("KWD", wire) for wire in (1, 10, 50, 99, 101, 2**63 - 1)],
        ("BTC", (2**63 - 1) // 1_000 + 1),
        ("BTC", 2**63 - 1),
    ],
)
def test_what_a_currency_cannot_hold_is_refused_and_never_rounded(
    dialect: Hub88Dialect, unsigned: Any, currency: str, wire: int
) -> None:
    for operation, body in (("bet", BET), ("win", WIN)):
        refused = refusal_of(dialect, unsigned(operation, in_currency(body, currency, amount=wire)))
        assert refused.refusal is Refusal.MALFORMED
        assert "cannot hold" in refused.detail
        assert told(dialect, refused) == {"status": "RS_ERROR_WRONG_SYNTAX", "request_uuid": "u-1"}
    free = in_currency(BET, currency, amount=wire, is_free=True)
    assert "cannot hold" in refusal_of(dialect, unsigned("bet", free)).detail
    part = in_currency(WIN, currency, amount=100_000, jackpot_win=wire)
    assert "jackpot_win" in refusal_of(dialect, unsigned("win", part)).detail


@given(amount_minor=st.integers(1, 2**63 - 1), currency=st.sampled_from(sorted(CURRENCIES)))
def test_every_amount_survives_the_wire_or_is_refused(
    dialect: Hub88Dialect, unsigned: Any, amount_minor: int, currency: str
) -> None:
    decimals = CURRENCIES[currency].decimals
    exact, rest = divmod(amount_minor * 10**5, 10**decimals)
    if rest:
        assert mapping.find_minor(exact, currency) != amount_minor
    elif exact <= 2**63 - 1:
        call = dialect.parse(unsigned("bet", in_currency(BET, currency, amount=exact)))
        assert call.legs[0].amount_minor == amount_minor
    else:
        refusal_of(dialect, unsigned("bet", in_currency(BET, currency, amount=exact)))
    balance = mapping.compute_wire(amount_minor, currency)
    assert balance * 10**decimals <= amount_minor * 10**5 < (balance + 1) * 10**decimals


@pytest.mark.parametrize(
    ("balance_minor", "currency", "wire"),
    [
        (0, "EUR", 0),
        (11, "EUR", 11_000),
        (11, "JPY", 1_100_000),
        (1, "KWD", 100),
        (999, "BTC", 0),
        (123_456_789, "BTC", 123_456),
        (19, "USDT", 1),
        (10**15 + 7, "JPY", (10**15 + 7) * 100_000),
    ],
)
def test_a_balance_is_told_whole_or_cut_never_more(
    dialect: Hub88Dialect, unsigned: Any, balance_minor: int, currency: str, wire: int
) -> None:
    call = dialect.parse(unsigned("balance", with_(BALANCE, token=f"s.p.{currency}")))
    assert json.loads(dialect.render(call, WalletAnswer(None, balance_minor)).body)["balance"] == wire


# --- malformed ----------------------------------------------------------------------------------------------

SYNTAX = {
    "nothing": b"",
    "cut": b'{"token":"s',
    "trailing": json.dumps(BET).encode() + b"x",
    "bom": b"\xef\xbb\xbf" + json.dumps(BET).encode(),
    "utf16": json.dumps(BET).encode("utf-16"),
    "invalid utf-8 in a field": json.dumps(BET).encode().replace(b"b-1", b"b-\xff"),
    "invalid utf-8 in an unknown field": json.dumps(BET).encode().replace(b'{"tok', b'{"x":"\xff","tok', 1),
    "NaN": json.dumps(BET).encode().replace(b'{"tok', b'{"x":NaN,"tok', 1),
    "deep": json.dumps(BET).encode().replace(b'{"tok', b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b',"tok', 1),
    "lone surrogate": json.dumps(with_(BET, transaction_uuid="b\ud800")).encode(),
    "nul": json.dumps(with_(BET, round="r\x00")).encode(),
    "control": json.dumps(with_(BET, game_code="g\n")).encode(),
    "control in the token": json.dumps(with_(BET, token="s\n.p.EUR")).encode(),
    **{
        name: json.dumps(body).encode()
        for name, body in {
            "transaction missing": with_(BET, transaction_uuid=...),
            "transaction empty": with_(BET, transaction_uuid=""),
            "transaction too long": with_(BET, transaction_uuid="b" * (MAX_REFERENCE_LENGTH + 1)),
            "token too long": with_(BET, token="t" * 256),
            "request missing": with_(BET, request_uuid=...),
            "round missing": with_(BET, round=...),
            "game missing": with_(BET, game_code=...),
            "currency missing": with_(BET, currency=...),
            "amount missing": with_(BET, amount=...),
            "amount negative": with_(BET, amount=-100_000),
            "amount beyond 64 bits": with_(BET, amount=2**63),
            "amount far beyond": with_(BET, amount=10**30),
        }.items()
    },
}
TYPES = {
    name: json.dumps(body).encode()
    for name, body in {
        "null": None,
        "list": [],
        "text": "x",
        "number": 1,
        "transaction number": with_(BET, transaction_uuid=7),
        "transaction null": with_(BET, transaction_uuid=None),
        "token number": with_(BET, token=7),
        "round number": with_(BET, round=1),
        "round_closed text": with_(BET, round_closed="true"),
        "is_free number": with_(BET, is_free=0),
        "amount text": with_(BET, amount="150000"),
        "amount float": with_(BET, amount=150_000.0),
        "amount boolean": with_(BET, amount=True),
        "amount null": with_(BET, amount=None),
        "currency null": with_(BET, currency=None),
    }.items()
} | {"amount huge": json.dumps(BET).encode().replace(b"150000", b"1e999")}


@pytest.mark.parametrize("name", sorted(SYNTAX.keys() | TYPES.keys()))
def test_malformed_body_is_refused(dialect: Hub88Dialect, unsigned: Any, name: str) -> None:
    body = SYNTAX.get(name) or TYPES.get(name) or b""
    assert len(body) <= mapping.MAX_BODY_BYTES
    refused = refusal_of(dialect, unsigned("bet", body))
    assert refused.refusal is Refusal.MALFORMED
    status = "RS_ERROR_WRONG_TYPES" if name in TYPES else "RS_ERROR_WRONG_SYNTAX"
    assert told(dialect, refused)["status"] == status


def test_a_refused_body_still_gets_its_request_uuid_back(dialect: Hub88Dialect, unsigned: Any) -> None:
    for changes in ({"amount": "1"}, {"amount": ...}, {"round": 7}):
        refused = refusal_of(dialect, unsigned("bet", with_(BET, **changes)))
        assert told(dialect, refused)["request_uuid"] == "u-1"
    for request_uuid in (7, "", "u" * 129, "u\x00", None, ["u"]):
        refused = refusal_of(dialect, unsigned("bet", with_(BET, amount="1", request_uuid=request_uuid)))
        assert "request_uuid" not in told(dialect, refused)


def test_a_rollback_of_itself_is_malformed(dialect: Hub88Dialect, unsigned: Any) -> None:
    refused = refusal_of(dialect, unsigned("rollback", with_(ROLLBACK, reference_transaction_uuid="k-1")))
    assert refused.refusal is Refusal.MALFORMED


@pytest.mark.parametrize("operation", ["", "check", "BET", "bet/", "transaction/bet", "__class__"])
def test_other_operations_are_unknown(dialect: Hub88Dialect, unsigned: Any, operation: str) -> None:
    assert refusal_of(dialect, unsigned(operation, BET)).refusal is Refusal.OPERATION_UNKNOWN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(sorted({*WIN, *ROLLBACK, "user", "jackpot_win"}))


@given(
    operation=st.sampled_from(["info", "balance", "bet", "win", "rollback", "other"]),
    body=st.binary(max_size=200)
    | st.dictionaries(fields, json_values).map(lambda made: json.dumps(made).encode())
    | st.dictionaries(fields, json_values).map(lambda made: json.dumps({**WIN, **made}).encode()),
    headers=st.dictionaries(st.just("x-hub88-signature") | st.text(max_size=5), st.text(max_size=70)),
)
def test_nothing_but_a_dialect_refusal_leaves_verify_and_parse(
    dialect: Hub88Dialect, operation: str, body: bytes, headers: dict[str, str]
) -> None:
    call = RawCall(operation, headers, body)
    for step in (dialect.verify, dialect.parse):
        try:
            step(call)
        except DialectRefusal as refused:
            status = told(dialect, refused)["status"]
            if not status.startswith("RS_ERROR_"):
                raise AssertionError(status) from None


# --- answers ------------------------------------------------------------------------------------------------


def test_answers_have_the_exact_shapes(dialect: Hub88Dialect, unsigned: Any) -> None:
    bet = dialect.parse(unsigned("bet", BET))
    response = dialect.render(bet, WalletAnswer(None, 11, "our-r", (LegAnswer("b-1", "t1", 50),)))
    assert (response.status, response.content_type) == (200, "application/json")
    assert response.body == b'{"status":"RS_OK","user":"p-1","request_uuid":"u-1","currency":"EUR","balance":11000}'
    back = dialect.parse(unsigned("rollback", ROLLBACK))
    nothing = dialect.render(back, WalletAnswer(None, 0, "", (LegAnswer("k-1", ""),)))
    assert nothing.body == b'{"status":"RS_OK","user":"p-1","request_uuid":"u-2","currency":"EUR","balance":0}'


def test_info_says_that_there_is_such_a_player_and_nothing_else(
    dialect: Hub88Dialect, caleta: Hub88Dialect, unsigned: Any
) -> None:
    info = dialect.parse(unsigned("info", INFO))
    found = {"status": "RS_OK", "user": "p-1", "request_uuid": "u-4"}
    for answer in (WalletAnswer(None, 500), WalletAnswer(Refusal.CURRENCY_MISMATCH, None)):
        assert json.loads(dialect.render(info, answer).body) == found
        assert json.loads(caleta.render(info, answer).body) == {**found, "sub_partner_id": "aurora"}
    unknown = json.loads(dialect.render(info, WalletAnswer(Refusal.PLAYER_UNKNOWN, None)).body)
    assert unknown == {"status": "RS_ERROR_INVALID_TOKEN", "request_uuid": "u-4"}
    away = json.loads(dialect.render(info, WalletAnswer(Refusal.UNAVAILABLE, None)).body)
    assert away["status"] == "RS_ERROR_UNKNOWN"


EXPECTED = {
    Refusal.INSUFFICIENT_FUNDS: "RS_ERROR_NOT_ENOUGH_MONEY",
    Refusal.LIMIT_REACHED: "RS_ERROR_LIMIT_REACHED",
    Refusal.PLAYER_BLOCKED: "RS_ERROR_USER_DISABLED",
    Refusal.GAME_FORBIDDEN: "RS_ERROR_INVALID_GAME",
    Refusal.ROLLED_BACK: "RS_ERROR_TRANSACTION_ROLLED_BACK",
    Refusal.ALREADY_REVERSED: "RS_ERROR_TRANSACTION_ROLLED_BACK",
    Refusal.ROUND_CLOSED: "RS_ERROR_WRONG_SYNTAX",
    Refusal.REFERENCE_MISUSED: "RS_ERROR_DUPLICATE_TRANSACTION",
    Refusal.PLAYER_UNKNOWN: "RS_ERROR_INVALID_TOKEN",
    Refusal.SESSION_INVALID: "RS_ERROR_TOKEN_EXPIRED",
    Refusal.CURRENCY_MISMATCH: "RS_ERROR_WRONG_CURRENCY",
    Refusal.UNKNOWN_REFERENCE: "RS_ERROR_TRANSACTION_DOES_NOT_EXIST",
    Refusal.SIGNATURE_INVALID: "RS_ERROR_INVALID_SIGNATURE",
    Refusal.MALFORMED: "RS_ERROR_WRONG_SYNTAX",
    Refusal.OPERATION_UNKNOWN: "RS_ERROR_WRONG_SYNTAX",
    Refusal.TENANT_UNKNOWN: "RS_ERROR_INVALID_PARTNER",
    Refusal.UNAVAILABLE: "RS_ERROR_UNKNOWN",
    Refusal.INTERNAL: "RS_ERROR_UNKNOWN",
}


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_its_status(
    dialect: Hub88Dialect, caleta: Hub88Dialect, unsigned: Any, refusal: Refusal
) -> None:
    call = dialect.parse(unsigned("bet", BET))
    rendered = dialect.render(call, WalletAnswer(refusal, 1234, "r", detail="10.0.0.7"))
    expected: dict[str, Any] = {"status": EXPECTED[refusal], "request_uuid": "u-1"}
    if refusal is Refusal.INSUFFICIENT_FUNDS:
        expected |= {"user": "p-1", "currency": "EUR", "balance": 1_234_000}
    assert (rendered.status, json.loads(rendered.body)) == (200, expected)
    other = json.loads(caleta.render(call, WalletAnswer(refusal, 1234, "r")).body)
    limited = refusal is Refusal.LIMIT_REACHED
    assert other == ({**expected, "status": "RS_ERROR_BET_LIMIT_EXCEEDED"} if limited else expected)
    early = json.loads(Hub88Dialect.render_refusal(refusal, "10.0.0.7").body)
    no_money = refusal is Refusal.INSUFFICIENT_FUNDS
    assert early == {"status": "RS_ERROR_UNKNOWN" if no_money else EXPECTED[refusal]}


@pytest.mark.parametrize("refusal", [None, Refusal.INSUFFICIENT_FUNDS])
def test_what_must_tell_the_balance_is_never_said_without(
    dialect: Hub88Dialect, unsigned: Any, refusal: Refusal | None
) -> None:
    body = json.loads(dialect.render(dialect.parse(unsigned("bet", BET)), WalletAnswer(refusal, None)).body)
    assert body == {"status": "RS_ERROR_UNKNOWN", "request_uuid": "u-1"}


def test_a_call_of_the_plain_kind_is_rendered_too(dialect: Hub88Dialect) -> None:
    plain = WalletCall(CallKind.BALANCE, "p-1", "EUR")
    answer = msgspec.json.decode(dialect.render(plain, WalletAnswer(None, 5)).body, type=mapping.Answer)
    assert answer == mapping.Answer("RS_OK", "p-1", "", "EUR", 5_000)
