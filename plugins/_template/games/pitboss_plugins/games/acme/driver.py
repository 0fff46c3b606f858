"""The plugin's class: Acme's wallet calls, game list and launches."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec

from pitboss_plugins.games.acme import mapping
from pitboss_plugins.games.acme.config import AcmeConfig
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
    RawCall,
    Refusal,
    WalletAnswer,
    WalletCall,
)
from pitboss_sdk.money import CURRENCIES
from pitboss_sdk.outcome import Done, Outcome, Refused, Unknown, Unsent
from pitboss_sdk.plugin import HttpClient, HttpResponse, InvalidConfiguration, MaybeSent, NotSent

_read: Final = msgspec.json.Decoder(mapping.Body)
_read_games: Final = msgspec.json.Decoder(mapping.Catalogue)
_write: Final = msgspec.json.Encoder()


class AcmeDialect:
    """Acme for one tenant."""

    Config: ClassVar[type[msgspec.Struct]] = AcmeConfig
    operations: ClassVar[frozenset[str]] = frozenset({"balance", "bet", "win", "rollback"})
    max_body_bytes: ClassVar[int] = 16 * 1024
    answer_within_ms: ClassVar[int] = 5_000

    def __init__(self, config: AcmeConfig, secrets: Mapping[str, str]) -> None:
        self._gateway = config.gateway_url.rstrip("/")
        self._key = secrets.get(config.api_secret.secret, "").encode()
        if not self._key:
            raise InvalidConfiguration(f"api_secret: secret {config.api_secret.secret!r} is missing or empty")

    def verify(self, call: RawCall) -> None:
        """Check `X-Acme-Signature`: base64 of HMAC-SHA256 over the raw body."""
        if len(call.body) > self.max_body_bytes:
            raise DialectRefusal(Refusal.MALFORMED)
        claimed = call.headers.get(mapping.SIGNATURE_HEADER, "").encode("ascii", "replace")
        if not hmac.compare_digest(self._sign(call.body), claimed):
            raise DialectRefusal(Refusal.SIGNATURE_INVALID)

    def parse(self, call: RawCall) -> WalletCall:
        """Decode one of the four operations."""
        if call.operation not in self.operations:
            raise DialectRefusal(Refusal.OPERATION_UNKNOWN)
        try:
            call.body.decode()  # the decoder skips unknown fields without looking at their bytes
            body = _read.decode(call.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectRefusal(Refusal.MALFORMED) from None
        if body.currency not in CURRENCIES:
            raise DialectRefusal(Refusal.CURRENCY_MISMATCH)
        texts = (body.player, body.session, body.game, body.round, body.id, body.original)
        if not all(len(text) <= MAX_REFERENCE_LENGTH and text.isprintable() for text in texts):
            raise DialectRefusal(Refusal.MALFORMED)
        if call.operation == "balance":
            return WalletCall(CallKind.BALANCE, body.player, body.currency, body.game, body.session)
        if not (body.id and body.round):
            raise DialectRefusal(Refusal.MALFORMED)
        kind = CallKind.ROLLBACK if call.operation == "rollback" else CallKind.PLAY
        legs = (_leg(call.operation, body),)
        return WalletCall(
            kind, body.player, body.currency, body.game, body.session, body.round, round_finished=body.last, legs=legs
        )

    def render(self, call: WalletCall, answer: WalletAnswer) -> DialectResponse:  # noqa: ARG002 the host gives both
        """Put the decision into Acme's shape."""
        if answer.refusal is not None:
            return _refuse(answer.refusal, answer.balance_minor)
        transaction = answer.legs[0].transaction if answer.legs else ""
        return DialectResponse(200, _write.encode(mapping.Answer("OK", answer.balance_minor, transaction)))

    @classmethod
    def render_refusal(cls, refusal: Refusal, detail: str = "") -> DialectResponse:  # noqa: ARG003 the host gives both
        """Put a refusal that came before a call was parsed into Acme's shape."""
        return _refuse(refusal, None)

    async def list_games(self, http: HttpClient) -> Outcome[tuple[GameInfo, ...]]:
        """Return Acme's catalogue."""
        answered = await self._send(http, "GET", "/games", b"", 10_000)
        if not isinstance(answered, HttpResponse):
            return answered
        if answered.status != 200:
            return Unknown(f"the game list was answered with HTTP {answered.status}")
        try:
            listed = _read_games.decode(answered.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Unknown("the game list cannot be read")
        return Done(tuple(GameInfo(game.code, game.title) for game in listed.games))

    async def launch(self, http: HttpClient, request: LaunchRequest) -> Outcome[Launched]:
        """Open a game for a player."""
        body = _write.encode(
            {"player": request.account, "session": request.session, "game": request.game, "currency": request.currency}
        )
        answered = await self._send(http, "POST", "/launch", body, request.deadline_ms)
        if not isinstance(answered, HttpResponse):
            return answered
        if answered.status == 409:
            return Refused("409", "Acme does not offer this game")
        if answered.status == 200 and answered.body.startswith(b"https://"):
            return Done(Launched(answered.body.decode("ascii", "replace")))
        return Unknown(f"HTTP {answered.status}")

    def _sign(self, body: bytes) -> bytes:
        return b64encode(hmac.digest(self._key, body, "sha256"))

    async def _send(
        self, http: HttpClient, method: str, path: str, body: bytes, timeout_ms: int
    ) -> HttpResponse | Unsent | Unknown:
        headers = {mapping.SIGNATURE_HEADER: self._sign(body).decode(), "content-type": "application/json"}
        try:
            return await http.request(
                method, f"{self._gateway}{path}", headers=headers, body=body, timeout_ms=timeout_ms
            )
        except NotSent as error:
            return Unsent(str(error))
        except MaybeSent as error:
            return Unknown(str(error))


def _leg(operation: str, body: mapping.Body) -> Leg:
    if operation == "rollback":
        if not body.original or body.original == body.id:
            raise DialectRefusal(Refusal.MALFORMED)
        return Leg(LegKind.ROLLBACK, body.id, 0, body.original)
    if body.cents is None:
        raise DialectRefusal(Refusal.MALFORMED)
    return Leg(LegKind.BET if operation == "bet" else LegKind.WIN, body.id, body.cents)


def _refuse(refusal: Refusal, balance_minor: int | None) -> DialectResponse:
    status, word = mapping.STATUS[refusal]
    return DialectResponse(status, _write.encode(mapping.Answer(word, balance_minor)))
