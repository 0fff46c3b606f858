"""The plugin's class: it reads signed wallet calls, writes their answers, and launches games."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from pitboss_plugins.games.softswiss import mapping
from pitboss_plugins.games.softswiss.config import SoftswissConfig, is_safe_url
from pitboss_sdk.events import GamesEvent
from pitboss_sdk.games import (
    CallKind,
    DialectRefusal,
    DialectResponse,
    GameInfo,
    Launched,
    LaunchRequest,
    Leg,
    LegKind,
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.hookspecs import StatusFact, hookimpl
from pitboss_sdk.money import CURRENCIES, InvalidAmount, decimal_from_minor, minor_from_decimal
from pitboss_sdk.notices import NOTICE_HEADERS, GameNotices, list_notice_keys
from pitboss_sdk.outcome import Done, Outcome, Refused, Unknown, Unsent
from pitboss_sdk.plugin import HttpClient, HttpResponse, InvalidConfiguration, MaybeSent, NotSent
from pitboss_sdk.secrets import SecretRef
from pitboss_sdk.webhooks import RawWebhook, Verdict

_B = TypeVar("_B")
_BLOCK_BYTES: Final = 64

_DECIMALS: Final = {code: currency.decimals for code, currency in CURRENCIES.items()}
_CURRENCY_CODE: Final = re.compile(mapping.CURRENCY_PATTERN, re.ASCII)
_LEG_KINDS: Final = {"bet": LegKind.BET, "win": LegKind.WIN}
_LOCALE: Final = re.compile(r"[a-zA-Z]{2}([-_][a-zA-Z]{2})?", re.ASCII)
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
_SILENT: Final = frozenset({Refusal.INTERNAL, Refusal.UNAVAILABLE, Refusal.SIGNATURE_INVALID})
"""Refusals whose detail stays inside: it would tell a stranger about us."""

_read_balance: Final = msgspec.json.Decoder(mapping.BalanceBody)
_read_bet_win: Final = msgspec.json.Decoder(mapping.BetWinBody)
_read_rollback: Final = msgspec.json.Decoder(mapping.RollbackBody)
_read_finish: Final = msgspec.json.Decoder(mapping.FinishBody)
_read_launch: Final = msgspec.json.Decoder(mapping.LaunchAnswer)
_read_games: Final = msgspec.json.Decoder(mapping.ListedGames)
_read_error: Final = msgspec.json.Decoder(mapping.ErrorAnswer)
_write: Final = msgspec.json.Encoder()


class SoftswissDialect:
    """The SOFTSWISS Game Aggregator v2 for one tenant: wallet dialect and driver."""

    Config: ClassVar[type[msgspec.Struct]] = SoftswissConfig
    operations: ClassVar[frozenset[str]] = frozenset({"balance", "betwin", "rollback", "finish"})
    max_body_bytes: ClassVar[int] = mapping.MAX_BODY_BYTES
    answer_within_ms: ClassVar[int] = mapping.ANSWER_WITHIN_MS
    webhook_headers: ClassVar[frozenset[str]] = NOTICE_HEADERS

    def __init__(self, config: SoftswissConfig, secrets: Mapping[str, str]) -> None:
        self._config = config
        references = (("api_secret", config.api_secret), ("previous_api_secret", config.previous_api_secret))
        self._keys = tuple(_key(secrets, field, found) for field, found in references if found is not None)
        self._seals = tuple(_seal(key) for key in self._keys)
        self._gateway = config.gateway_url.rstrip("/")
        self._notices = GameNotices(
            config.casino_id, list_notice_keys(secrets, (config.notice_secret, config.previous_notice_secret))
        )
        self._readers = {
            "balance": _parse_balance,
            "betwin": _parse_bet_win,
            "rollback": _parse_rollback,
            "finish": _parse_finish,
        }

    def verify(self, call: RawCall) -> None:
        """Check `X-REQUEST-SIGN`: 64 lower-case hex digits, HMAC-SHA256 of the raw body under a secret of the list."""
        body = call.body
        if len(body) > mapping.MAX_BODY_BYTES:
            raise DialectRefusal(Refusal.MALFORMED, "body too large")
        claimed = call.headers.get(mapping.SIGNATURE_HEADER, "")
        # compare_digest takes only ASCII text; a signature that is not is wrong anyway.
        if len(claimed) == 64 and claimed.isascii():
            for inner, outer in self._seals:
                content, whole = inner.copy(), outer.copy()
                content.update(body)
                whole.update(content.digest())
                if hmac.compare_digest(whole.hexdigest(), claimed):
                    return
        raise DialectRefusal(Refusal.SIGNATURE_INVALID)

    def verify_webhook(self, raw: RawWebhook) -> Verdict:
        """Check a notice: the aggregator sends none, its operator's own tooling may."""
        return self._notices.verify(raw)

    def translate_webhook(self, raw: RawWebhook) -> tuple[GamesEvent, ...]:
        """Say what a notice means."""
        return self._notices.translate(raw)

    def parse(self, call: RawCall) -> WalletCall:
        """Decode one of the four callbacks; unknown fields are tolerated, everything else is taken literally."""
        read = self._readers.get(call.operation)
        if read is None:
            raise DialectRefusal(Refusal.OPERATION_UNKNOWN)
        return read(call.body)

    def render(self, call: WalletCall, answer: WalletAnswer) -> DialectResponse:
        """Put the decision into the answer of the callback, or into the error envelope."""
        refusal = answer.refusal
        if answer.balance_minor is None:
            return _render_error(refusal or Refusal.INTERNAL, answer.detail, None)
        balance = decimal_from_minor(answer.balance_minor, _DECIMALS[call.currency])
        if refusal is not None and not _is_finished_anyway(call, refusal):
            return _render_error(refusal, answer.detail, balance)
        if call.kind is CallKind.PLAY:
            return _render_play(call, answer, balance)
        if call.kind is CallKind.ROLLBACK:
            return _render_rollback(call, answer, balance)
        return DialectResponse(200, _write.encode(mapping.BalanceAnswer(balance)))

    @classmethod
    def render_refusal(cls, refusal: Refusal, detail: str = "") -> DialectResponse:
        """Put a refusal that came before a call was parsed into the error envelope."""
        return _render_error(refusal, detail, None)

    @staticmethod
    @hookimpl
    def status_facts(config: SoftswissConfig) -> tuple[StatusFact, ...]:
        """Tell who the tenant is at the aggregator, where that is, and whether an old secret is still accepted."""
        facts = [
            StatusFact("Casino", config.casino_id),
            StatusFact("Gateway", urlsplit(config.gateway_url).hostname or ""),
        ]
        if config.previous_api_secret is not None:
            told = "the previous one is still accepted; take it away when the aggregator has the new one"
            facts.append(StatusFact("Signing secret", told, is_warning=True))
        return tuple(facts)

    async def list_games(self, http: HttpClient) -> Outcome[tuple[GameInfo, ...]]:
        """Return the active games of this casino; the endpoint is public and unsigned."""
        query = urlencode({"operator": self._config.casino_id, "active": "true", "format": "json"})
        answered = await _send(
            http, "GET", f"{self._gateway}{mapping.GAMES_PATH}?{query}", {"accept": "application/json"}, b"", 10_000
        )
        if not isinstance(answered, HttpResponse):
            return answered
        if answered.status == 404:
            return Refused("404", "casino is not known to the aggregator")
        listed = _decode(_read_games, answered.body) if answered.status == 200 else None
        if listed is None:
            return Unknown(f"the game list was answered with HTTP {answered.status} and a body that it does not have")
        if unfit := [game.identifier for game in listed.games if not game.identifier.isprintable()]:
            return Unknown(f"the game list names a game that cannot be stored: {unfit[0]!r}")
        return Done(tuple({game.identifier: _game_info(game) for game in listed.games}.values()))

    async def launch(self, http: HttpClient, request: LaunchRequest) -> Outcome[Launched]:
        """Open a real-money session; the account and session ids come back in the callbacks."""
        body = _write.encode(self._launch_body(request))
        headers = {
            "accept": "application/json",
            "content-type": "application/json",
            mapping.SIGNATURE_HEADER: hmac.digest(self._keys[0], body, "sha256").hex(),
        }
        answered = await _send(
            http, "POST", f"{self._gateway}{mapping.LAUNCH_PATH}", headers, body, request.deadline_ms
        )
        if not isinstance(answered, HttpResponse):
            return answered
        if answered.status == 200:
            opened = _decode(_read_launch, answered.body)
            if opened is None or not is_safe_url(opened.launch_url):
                return Unknown("the launcher answered 200 without a usable launch_url")
            return Done(Launched(opened.launch_url))
        error = _decode(_read_error, answered.body)
        if answered.status in {400, 403} and error is not None and error.meta.api_code in mapping.LAUNCH_REFUSALS:
            return Refused(error.meta.api_code, (error.meta.api_message or error.msg)[:200])
        return Unknown(f"the launcher answered HTTP {answered.status} with a meaning that is not listed")

    def _launch_body(self, request: LaunchRequest) -> mapping.LaunchBody:
        country = request.country if _COUNTRY.fullmatch(request.country) else ""
        urls = mapping.LaunchUrls(return_url=request.return_url, deposit_url=self._config.deposit_url)
        return mapping.LaunchBody(
            casino_id=self._config.casino_id,
            game=request.game,
            account=mapping.LaunchAccount(id=request.account, currency=request.currency, country=country),
            session_id=request.session,
            client_type="mobile" if request.mobile else "desktop",
            locale=request.language if _LOCALE.fullmatch(request.language) else "",
            ip=request.ip,
            urls=urls if urls.return_url or urls.deposit_url else None,
            jurisdiction=country,
        )


def _seal(key: bytes) -> tuple[Any, Any]:
    """Return both hashes of an HMAC-SHA256 (RFC 2104) with the key taken in: half the price of a fresh one a call."""
    block = (key if len(key) <= _BLOCK_BYTES else sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    return sha256(bytes([byte ^ 0x36 for byte in block])), sha256(bytes([byte ^ 0x5C for byte in block]))


def _key(secrets: Mapping[str, str], field: str, reference: SecretRef) -> bytes:
    value = secrets.get(reference.secret, "").strip()
    if not value:
        # An empty key would accept the signature that anyone can compute.
        raise InvalidConfiguration(f"{field}: secret {reference.secret!r} is missing or empty")
    return value.encode()


def _read(decoder: msgspec.json.Decoder[_B], body: bytes) -> _B:
    try:
        if not body.isascii():
            body.decode()  # the decoder skips unknown fields without looking at their bytes
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise DialectRefusal(Refusal.MALFORMED, str(error)[:200]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DialectRefusal(Refusal.MALFORMED, "body is not JSON") from None


def _decimals(currency: str) -> int:
    decimals = _DECIMALS.get(currency)
    if decimals is not None:
        return decimals
    if _CURRENCY_CODE.fullmatch(currency):
        raise DialectRefusal(Refusal.CURRENCY_MISMATCH)
    raise DialectRefusal(Refusal.MALFORMED, "currency is not a code")


def _demand_printable(text: str) -> None:
    # Control characters and lone surrogates cannot be stored; one look at the joined text is the cheapest.
    if not text.isprintable():
        raise DialectRefusal(Refusal.MALFORMED, "an id holds characters that cannot be stored")


def _parse_balance(body: bytes) -> WalletCall:
    wire = _read(_read_balance, body)
    _decimals(wire.currency)
    session = wire.session_id or ""
    _demand_printable(wire.account_id + wire.game_id + session)
    return WalletCall(CallKind.BALANCE, wire.account_id, wire.currency, wire.game_id, session)


def _parse_bet_win(body: bytes) -> WalletCall:
    wire = _read(_read_bet_win, body)
    decimals = _decimals(wire.currency)
    session = wire.session_id or ""
    text = wire.account_id + wire.game_id + wire.round_id + session
    legs: list[Leg] = []
    for movement in wire.transactions:
        try:
            amount_minor = minor_from_decimal(movement.amount, decimals)
        except InvalidAmount as error:
            raise DialectRefusal(Refusal.MALFORMED, f"transactions[{len(legs)}].amount: {error.detail}") from None
        if amount_minor == 0:
            raise DialectRefusal(Refusal.MALFORMED, f"transactions[{len(legs)}].amount: must be above zero")
        text += movement.id_provider
        legs.append(Leg(_LEG_KINDS[movement.type], movement.id_provider, amount_minor))
    _demand_printable(text)
    _demand_distinct(legs)
    return WalletCall(
        CallKind.PLAY,
        wire.account_id,
        wire.currency,
        wire.game_id,
        session,
        wire.round_id,
        wire.finished is True,
        tuple(legs),
    )


def _parse_rollback(body: bytes) -> WalletCall:
    wire = _read(_read_rollback, body)
    _decimals(wire.currency)
    session, game = wire.session_id or "", wire.game_id or ""
    text = wire.account_id + game + wire.round_id_provider + session
    legs: list[Leg] = []
    for reversal in wire.transactions:
        if reversal.id_provider == reversal.original_id_provider:
            raise DialectRefusal(Refusal.MALFORMED, f"transactions[{len(legs)}]: reverses itself")
        text += reversal.id_provider + reversal.original_id_provider
        legs.append(Leg(LegKind.ROLLBACK, reversal.id_provider, 0, reversal.original_id_provider))
    _demand_printable(text)
    _demand_distinct(legs)
    return WalletCall(
        CallKind.ROLLBACK,
        wire.account_id,
        wire.currency,
        game,
        session,
        wire.round_id_provider,
        wire.finished is True,
        tuple(legs),
    )


def _parse_finish(body: bytes) -> WalletCall:
    wire = _read(_read_finish, body)
    _decimals(wire.currency)
    session = wire.session_id or ""
    _demand_printable(wire.account_id + wire.round_id + session)
    return WalletCall(CallKind.FINISH, wire.account_id, wire.currency, "", session, wire.round_id, True)


def _demand_distinct(legs: list[Leg]) -> None:
    if len(legs) > 1 and len({leg.reference for leg in legs}) < len(legs):
        raise DialectRefusal(Refusal.MALFORMED, "transactions: an id_provider comes twice")


def _is_finished_anyway(call: WalletCall, refusal: Refusal) -> bool:
    # A finish moves no money and is sent up to five times: a round that is closed or was never seen needs none.
    return call.kind is CallKind.FINISH and refusal in {Refusal.UNKNOWN_REFERENCE, Refusal.ROUND_CLOSED}


def _render_play(call: WalletCall, answer: WalletAnswer, balance: str) -> DialectResponse:
    decimals = _DECIMALS[call.currency]
    movements = [
        mapping.MovementAnswer(leg.reference, leg.transaction, decimal_from_minor(leg.bonus_minor, decimals))
        for leg in answer.legs
    ]
    return DialectResponse(200, _write.encode(mapping.BetWinAnswer(answer.round or call.round, movements, balance)))


def _render_rollback(call: WalletCall, answer: WalletAnswer, balance: str) -> DialectResponse:
    reversals = [mapping.ReversalAnswer(leg.reference, leg.transaction) for leg in answer.legs]
    return DialectResponse(200, _write.encode(mapping.RollbackAnswer(balance, answer.round or call.round, reversals)))


def _render_error(refusal: Refusal, detail: str, balance: str | None) -> DialectResponse:
    status, api_code, text = mapping.ERRORS[refusal]
    if api_code in mapping.CARRY_BALANCE:
        if balance is None:
            # The envelope would be read as a balance of nothing; a 500 is sent again instead.
            status, api_code, text = mapping.ERRORS[Refusal.INTERNAL]
    else:
        balance = None
    message = detail[:200] if detail and refusal not in _SILENT else text
    code = "invalid_argument" if status == 400 else "internal"
    body = mapping.ErrorAnswer(code, mapping.ErrorMeta(api_code, message, balance), message)
    return DialectResponse(status, _write.encode(body))


async def _send(
    http: HttpClient, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout_ms: int
) -> HttpResponse | Unsent | Unknown:
    try:
        return await http.request(method, url, headers=headers, body=body, timeout_ms=timeout_ms)
    except NotSent as error:
        return Unsent(str(error)[:200])
    except MaybeSent as error:
        return Unknown(str(error)[:200])


def _decode(decoder: msgspec.json.Decoder[_B], body: bytes) -> _B | None:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _game_info(game: mapping.ListedGame) -> GameInfo:
    payout = game.payout
    usable = payout is not None and payout.is_finite() and 0 <= payout <= 1000
    return GameInfo(
        code=game.identifier,
        title=game.title,
        provider=game.feature_group,
        category=game.category,
        rtp_basis_points=int(payout * Decimal(100)) if usable and payout is not None else None,
    )
