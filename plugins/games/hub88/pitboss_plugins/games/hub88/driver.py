"""The plugin's class: it reads signed wallet calls, writes their answers, and launches games."""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import ClassVar, Final, Self, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from pitboss_plugins.games.hub88 import mapping
from pitboss_plugins.games.hub88.config import Hub88Config, is_safe_url
from pitboss_sdk.events import GamesEvent
from pitboss_sdk.games import (
    MAX_REFERENCE_LENGTH,
    CallKind,
    DialectRefusal,
    DialectResponse,
    GameInfo,
    Launched,
    LaunchRequest,
    Leg,
    LegKind,
    ListedTransaction,
    RawCall,
    Refusal,
    TransactionsRequest,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.money import CURRENCIES
from pitboss_sdk.notices import NOTICE_HEADERS, GameNotices, list_notice_keys
from pitboss_sdk.outcome import Done, Outcome, Refused, Unknown, Unsent
from pitboss_sdk.plugin import HttpClient, HttpResponse, InvalidConfiguration, MaybeSent, NotSent
from pitboss_sdk.secrets import SecretRef
from pitboss_sdk.webhooks import RawWebhook, Verdict

_B = TypeVar("_B")

_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()
_MIN_KEY_BITS: Final = 2048
_ANY_CURRENCY: Final = "EUR"
"""A wallet is looked up by its currency, `info` names none: that the player has no such wallet tells enough."""
_LANGUAGE: Final = re.compile(r"[a-zA-Z]{2}", re.ASCII)
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
_NO_COUNTRY: Final = "XX"

_read_info: Final = msgspec.json.Decoder(mapping.InfoBody)
_read_balance: Final = msgspec.json.Decoder(mapping.BalanceBody)
_read_bet: Final = msgspec.json.Decoder(mapping.BetBody)
_read_win: Final = msgspec.json.Decoder(mapping.WinBody)
_read_rollback: Final = msgspec.json.Decoder(mapping.RollbackBody)
_read_any: Final = msgspec.json.Decoder(mapping.AnyBody)
_read_games: Final = msgspec.json.Decoder(list[mapping.ListedGame])
_read_launch: Final = msgspec.json.Decoder(mapping.LaunchAnswer)
_read_books: Final = msgspec.json.Decoder(list[mapping.BookedTransaction])
_read_error: Final = msgspec.json.Decoder(mapping.ErrorAnswer)
_write: Final = msgspec.json.Encoder()


class Hub88Call(WalletCall, frozen=True, gc=False):
    """A parsed call with what its answer repeats; `about_user` asks whether there is such a player."""

    request_uuid: str = ""
    about_user: bool = False


class Told(str):
    """The detail of a refusal, with what its answer says beside it: `render_refusal` is given nothing else."""

    __slots__ = ("request_uuid", "status")

    status: str
    request_uuid: str

    def __new__(cls, text: str, status: str, request_uuid: str = "") -> Self:
        """Return `text` as a detail."""
        told = super().__new__(cls, text)
        told.status = status
        told.request_uuid = request_uuid
        return told


class Hub88Dialect:
    """Hub88 or Caleta for one tenant: wallet dialect and driver."""

    Config: ClassVar[type[msgspec.Struct]] = Hub88Config
    operations: ClassVar[frozenset[str]] = frozenset({"info", "balance", "bet", "win", "rollback"})
    max_body_bytes: ClassVar[int] = mapping.MAX_BODY_BYTES
    answer_within_ms: ClassVar[int] = mapping.ANSWER_WITHIN_MS
    webhook_headers: ClassVar[frozenset[str]] = NOTICE_HEADERS

    def __init__(self, config: Hub88Config, secrets: Mapping[str, str]) -> None:
        self._config = config
        self._words = mapping.WORDS[config.flavour]
        self._gateway = config.gateway_url.rstrip("/")
        self._notices = GameNotices(
            config.operator_id, list_notice_keys(secrets, (config.notice_secret, config.previous_notice_secret))
        )
        self._private_key = _private_key(secrets, config.private_key)
        theirs = (
            ("aggregator_public_key", config.aggregator_public_key),
            ("previous_aggregator_public_key", config.previous_aggregator_public_key),
        )
        self._public_keys = tuple(_public_key(secrets, field, found) for field, found in theirs if found is not None)
        self._readers = {
            "info": _parse_info,
            "balance": _parse_balance,
            "bet": _parse_bet,
            "win": _parse_win,
            "rollback": _parse_rollback,
        }

    def verify(self, call: RawCall) -> None:
        """Check the signature: base64 of RSA PKCS#1 v1.5 with SHA-256 over the raw body, under a key of the list."""
        if len(call.body) > mapping.MAX_BODY_BYTES:
            raise DialectRefusal(Refusal.MALFORMED, "body too large")
        try:
            signature = a2b_base64(call.headers.get(self._words.signature_header, ""), strict_mode=True)
        except ValueError:
            raise DialectRefusal(Refusal.SIGNATURE_INVALID) from None
        for key in self._public_keys:
            try:
                key.verify(signature, call.body, _PADDING, _HASH)
            except InvalidSignature:
                continue
            return
        raise DialectRefusal(Refusal.SIGNATURE_INVALID)

    def verify_webhook(self, raw: RawWebhook) -> Verdict:
        """Check a notice: the aggregators send none, their operator's own tooling may."""
        return self._notices.verify(raw)

    def translate_webhook(self, raw: RawWebhook) -> tuple[GamesEvent, ...]:
        """Say what a notice means."""
        return self._notices.translate(raw)

    def parse(self, call: RawCall) -> WalletCall:
        """Decode one of the five callbacks; unknown fields are tolerated, everything else is taken literally."""
        read = self._readers.get(call.operation)
        if read is None:
            raise DialectRefusal(Refusal.OPERATION_UNKNOWN)
        return read(call.body)

    def render(self, call: WalletCall, answer: WalletAnswer) -> DialectResponse:
        """Put the decision into the one shape that all answers have; HTTP is 200 whatever was decided."""
        request_uuid = call.request_uuid if isinstance(call, Hub88Call) else ""
        refusal = answer.refusal
        if isinstance(call, Hub88Call) and call.about_user and refusal in {None, Refusal.CURRENCY_MISMATCH}:
            partner = self._config.sub_partner_id
            return _respond(mapping.Answer(mapping.OK, call.account, request_uuid, sub_partner_id=partner))
        if refusal is not None and refusal is not Refusal.INSUFFICIENT_FUNDS:
            limited = refusal is Refusal.LIMIT_REACHED
            status = self._words.limit_status if limited else mapping.STATUSES[refusal]
            return _respond(mapping.Answer(status, request_uuid=request_uuid))
        if answer.balance_minor is None:
            # Neither status may be sent without the balance; after this one they ask again, or take the bet back.
            return _respond(mapping.Answer(mapping.UNKNOWN, request_uuid=request_uuid))
        status = mapping.OK if refusal is None else mapping.NOT_ENOUGH_MONEY
        balance = mapping.compute_wire(answer.balance_minor, call.currency)
        return _respond(mapping.Answer(status, call.account, request_uuid, call.currency, balance))

    @classmethod
    def render_refusal(cls, refusal: Refusal, detail: str = "") -> DialectResponse:
        """Put a refusal that came before a call was parsed into the shape of answers."""
        if isinstance(detail, Told):
            return _respond(mapping.Answer(detail.status, request_uuid=detail.request_uuid))
        status = mapping.STATUSES[refusal]
        return _respond(mapping.Answer(mapping.UNKNOWN if status == mapping.NOT_ENOUGH_MONEY else status))

    async def list_games(self, http: HttpClient) -> Outcome[tuple[GameInfo, ...]]:
        """Return the games that are switched on for this operator."""
        body = _write.encode(mapping.GamesBody(self._operator_id()))
        answered = await self._send(http, self._words.games_path, body, 10_000)
        if not isinstance(answered, HttpResponse):
            return answered
        listed = _decode(_read_games, answered.body) if answered.status == 200 else None
        if listed is None:
            return _refusal_of(answered) or Unknown(
                f"the game list was answered with HTTP {answered.status} and a body that it does not have"
            )
        if unfit := [game.game_code for game in listed if not game.game_code.isprintable()]:
            return Unknown(f"the game list names a game that cannot be stored: {unfit[0]!r}")
        return Done(tuple({game.game_code: _game_info(game) for game in listed if game.enabled}.values()))

    async def launch(self, http: HttpClient, request: LaunchRequest) -> Outcome[Launched]:
        """Open a real-money session; the token that leaves comes back in the callbacks."""
        token = f"{request.session}.{request.account}.{request.currency}"
        if _split(token) is None or request.currency not in CURRENCIES or len(token) not in mapping.TOKEN_LENGTHS:
            return Unsent("session, account and currency make no token of the form that comes back")
        answered = await self._send(
            http, self._words.launch_path, _write.encode(self._launch_body(request, token)), request.deadline_ms
        )
        if not isinstance(answered, HttpResponse):
            return answered
        if answered.status == 200:
            opened = _decode(_read_launch, answered.body)
            if opened is None or not is_safe_url(opened.url):
                return Unknown("the launch was answered with 200 without a usable url")
            return Done(Launched(opened.url))
        return _refusal_of(answered) or Unknown(
            f"the launch was answered with HTTP {answered.status} and a meaning that is not listed"
        )

    async def list_transactions(
        self, http: HttpClient, request: TransactionsRequest
    ) -> Outcome[tuple[ListedTransaction, ...]]:
        """Return what the aggregator's own books hold of a span or a round."""
        if not self._words.transactions_path:
            return Refused("not_offered", f"{self._config.flavour} documents no list of transactions")
        asked = mapping.write_request(self._operator_id(), self._config.sub_partner_id, request)
        path = self._words.transactions_path
        answered = await self._send(http, path, _write.encode(asked), request.deadline_ms)
        if not isinstance(answered, HttpResponse):
            return answered
        books = _decode(_read_books, answered.body) if answered.status == 200 else None
        if books is None:
            return _refusal_of(answered) or Unknown(
                f"the list of transactions was answered with HTTP {answered.status} and a body that it does not have"
            )
        told = mapping.read_books(books, request)
        return Unknown("the list of transactions names one that cannot be read") if told is None else Done(told)

    def _operator_id(self) -> int | str:
        given = self._config.operator_id
        return int(given) if self._config.flavour == "hub88" else given

    def _launch_body(self, request: LaunchRequest, token: str) -> mapping.LaunchBody:
        language = request.language[:2].lower()
        with_platform = self._words.tells_platform
        return mapping.LaunchBody(
            user=request.account,
            token=token,
            operator_id=self._operator_id(),
            game_code=request.game,
            currency=request.currency,
            country=request.country if _COUNTRY.fullmatch(request.country) else _NO_COUNTRY,
            lang=language if _LANGUAGE.fullmatch(language) else "en",
            lobby_url=request.return_url or self._config.lobby_url,
            sub_partner_id=self._config.sub_partner_id,
            deposit_url=self._config.deposit_url,
            platform=("GPL_MOBILE" if request.mobile else "GPL_DESKTOP") if with_platform else "",
            ip=request.ip if with_platform else "",
        )

    async def _send(self, http: HttpClient, path: str, body: bytes, timeout_ms: int) -> HttpResponse | Unsent | Unknown:
        headers = {
            "accept": "application/json",
            "content-type": "application/json",
            self._words.signature_header: b64encode(self._private_key.sign(body, _PADDING, _HASH)).decode(),
        }
        try:
            return await http.request(
                "POST", f"{self._gateway}{path}", headers=headers, body=body, timeout_ms=timeout_ms
            )
        except NotSent as error:
            return Unsent(str(error)[:200])
        except MaybeSent as error:
            return Unknown(str(error)[:200])


def _key_text(secrets: Mapping[str, str], field: str, reference: SecretRef) -> str:
    text = secrets.get(reference.secret, "").strip()
    if not text:
        raise InvalidConfiguration(f"{field}: secret {reference.secret!r} is missing or empty")
    return text


def _private_key(secrets: Mapping[str, str], reference: SecretRef) -> RSAPrivateKey:
    text = _key_text(secrets, "private_key", reference)
    try:
        if text.startswith("-----BEGIN "):
            key = load_pem_private_key(text.encode(), None)
        else:
            key = load_der_private_key(a2b_base64(text, strict_mode=True), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _MIN_KEY_BITS:
        raise InvalidConfiguration(f"private_key: secret {reference.secret!r} is {_WANTED} private key")
    return key


def _public_key(secrets: Mapping[str, str], field: str, reference: SecretRef) -> RSAPublicKey:
    text = _key_text(secrets, field, reference)
    try:
        if text.startswith("-----BEGIN "):
            key = load_pem_public_key(text.encode())
        else:
            key = load_der_public_key(a2b_base64(text, strict_mode=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < _MIN_KEY_BITS:
        raise InvalidConfiguration(f"{field}: secret {reference.secret!r} is {_WANTED} public key")
    return key


_WANTED: Final = f"not PEM, or base64 of DER, of an unencrypted RSA key of {_MIN_KEY_BITS} bits or more, as a"


def _read(decoder: msgspec.json.Decoder[_B], body: bytes) -> _B:
    try:
        if not body.isascii():
            body.decode()  # the decoder skips unknown fields without looking at their bytes
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)[:200]
        wrong_type = ", got `" in text or "out of range" in text
        status = mapping.WRONG_TYPES if wrong_type else mapping.WRONG_SYNTAX
        raise DialectRefusal(Refusal.MALFORMED, Told(text, status, _uuid_of(body))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DialectRefusal(Refusal.MALFORMED, "body is not JSON") from None


def _uuid_of(body: bytes) -> str:
    read = _decode(_read_any, body)
    return read.request_uuid if read is not None and read.request_uuid.isprintable() else ""


def _refuse(text: str, request_uuid: str, status: str = mapping.WRONG_SYNTAX) -> DialectRefusal:
    return DialectRefusal(Refusal.MALFORMED, Told(text, status, request_uuid))


def _demand_printable(text: str) -> None:
    # Control characters and lone surrogates cannot be stored; one look at the joined text is the cheapest.
    if not text.isprintable():
        raise DialectRefusal(Refusal.MALFORMED, "an id holds characters that cannot be stored")


def _split(token: str) -> tuple[str, str, str] | None:
    """Return session, account and currency of a token that our launch made, or None."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    session, account, currency = parts
    if not 0 < len(session) <= MAX_REFERENCE_LENGTH or not 0 < len(account) <= MAX_REFERENCE_LENGTH:
        return None
    return session, account, currency


def _whose(token: str | None, user: str | None, request_uuid: str) -> tuple[str, str, str]:
    """Return session, account and currency that a call's token says."""
    found = _split(token) if token else None
    if found is None or (user and user != found[1]):
        raise _refuse("token is not one of ours, or is another user's", request_uuid, mapping.INVALID_TOKEN)
    _demand_currency(found[2] in CURRENCIES, request_uuid)
    return found


def _demand_currency(right: bool, request_uuid: str) -> None:
    if not right:
        status = mapping.STATUSES[Refusal.CURRENCY_MISMATCH]
        raise DialectRefusal(Refusal.CURRENCY_MISMATCH, Told("not the session's currency", status, request_uuid))


def _minor(wire: int, currency: str, field: str, request_uuid: str) -> int:
    amount_minor = mapping.find_minor(wire, currency)
    if amount_minor is None:
        raise _refuse(f"{field}: {currency} cannot hold it exactly", request_uuid)
    return amount_minor


def _parse_info(body: bytes) -> WalletCall:
    wire = _read(_read_info, body)
    _demand_printable(wire.user + wire.request_uuid)
    return Hub88Call(CallKind.BALANCE, wire.user, _ANY_CURRENCY, request_uuid=wire.request_uuid, about_user=True)


def _parse_balance(body: bytes) -> WalletCall:
    wire = _read(_read_balance, body)
    game = wire.game_code or ""
    _demand_printable((wire.token or "") + (wire.user or "") + game + wire.request_uuid)
    session, account, currency = _whose(wire.token, wire.user, wire.request_uuid)
    return Hub88Call(CallKind.BALANCE, account, currency, game, session, request_uuid=wire.request_uuid)


def _parse_bet(body: bytes) -> WalletCall:
    wire = _read(_read_bet, body)
    request_uuid, free, closed = wire.request_uuid, wire.is_free is True, wire.round_closed is True
    _demand_printable(
        (wire.token or "") + (wire.user or "") + wire.game_code + wire.round + wire.transaction_uuid + request_uuid
    )
    session, account, currency = _whose(wire.token, wire.user, request_uuid)
    _demand_currency(wire.currency == currency, request_uuid)
    amount_minor = _minor(wire.amount, currency, "amount", request_uuid)
    if free:
        # The aggregator pays for it: nothing moves, so there is nothing to book.
        return _still(account, currency, wire.game_code, session, wire.round, request_uuid, closed=closed)
    if amount_minor == 0:
        raise _refuse("amount: a bet is above zero", request_uuid)
    legs = (Leg(LegKind.BET, wire.transaction_uuid, amount_minor),)
    return Hub88Call(
        CallKind.PLAY, account, currency, wire.game_code, session, wire.round, closed, legs, request_uuid=request_uuid
    )


def _parse_win(body: bytes) -> WalletCall:
    wire = _read(_read_win, body)
    request_uuid, closed, token = wire.request_uuid, wire.round_closed is True, wire.token or ""
    _demand_printable(token + (wire.user or "") + wire.game_code + wire.round + wire.transaction_uuid + request_uuid)
    if wire.user and wire.currency in CURRENCIES and _split(token) is None:
        # A win is not refused for its token where the call says without it whose it is.
        session, account, currency = "", wire.user, wire.currency
    else:
        session, account, currency = _whose(token, wire.user, request_uuid)
    _demand_currency(wire.currency == currency, request_uuid)
    amount_minor = _minor(wire.amount, currency, "amount", request_uuid)
    jackpot_minor = _minor(wire.jackpot_win or 0, currency, "jackpot_win", request_uuid)
    if jackpot_minor > amount_minor:
        raise _refuse("jackpot_win: is part of amount", request_uuid)
    if amount_minor == 0:
        return _still(account, currency, wire.game_code, session, wire.round, request_uuid, closed=closed)
    return Hub88Call(
        CallKind.PLAY,
        account,
        currency,
        wire.game_code,
        session,
        wire.round,
        closed,
        (Leg(LegKind.WIN, wire.transaction_uuid, amount_minor, jackpot_minor=jackpot_minor),),
        wire.is_free is True,
        request_uuid=request_uuid,
    )


def _parse_rollback(body: bytes) -> WalletCall:
    wire = _read(_read_rollback, body)
    request_uuid, game = wire.request_uuid, wire.game_code or ""
    ids = wire.round + wire.transaction_uuid + wire.reference_transaction_uuid + request_uuid
    _demand_printable((wire.token or "") + (wire.user or "") + game + ids)
    session, account, currency = _whose(wire.token, wire.user, request_uuid)
    if wire.transaction_uuid == wire.reference_transaction_uuid:
        raise _refuse("transaction_uuid: reverses itself", request_uuid)
    legs = (Leg(LegKind.ROLLBACK, wire.transaction_uuid, 0, wire.reference_transaction_uuid),)
    closed = wire.round_closed is True
    return Hub88Call(
        CallKind.ROLLBACK, account, currency, game, session, wire.round, closed, legs, request_uuid=request_uuid
    )


def _still(
    account: str, currency: str, game: str, session: str, round_name: str, request_uuid: str, *, closed: bool
) -> WalletCall:
    """Return a call that moves nothing: it asks for the balance, and ends the round where it is the last."""
    if closed:
        return Hub88Call(CallKind.FINISH, account, currency, game, session, round_name, True, request_uuid=request_uuid)
    return Hub88Call(CallKind.BALANCE, account, currency, game, session, round_name, request_uuid=request_uuid)


def _respond(answer: mapping.Answer) -> DialectResponse:
    return DialectResponse(200, _write.encode(answer))


def _decode(decoder: msgspec.json.Decoder[_B], body: bytes) -> _B | None:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _refusal_of(answered: HttpResponse) -> Refused | None:
    error = _decode(_read_error, answered.body) if answered.status in mapping.REFUSING else None
    return None if error is None else Refused(str(answered.status), error.error[:200])


def _game_info(game: mapping.ListedGame) -> GameInfo:
    try:
        payout = Decimal(bytes(game.rtp).decode().strip('"'))
    except InvalidOperation:
        payout = None
    usable = payout is not None and payout.is_finite() and 0 <= payout <= 1000
    return GameInfo(
        code=game.game_code,
        title=game.name,
        provider=game.product,
        category=game.category,
        rtp_basis_points=int(payout * Decimal(100)) if usable and payout is not None else None,
    )
