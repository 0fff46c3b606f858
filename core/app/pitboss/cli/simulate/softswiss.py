"""The SOFTSWISS dialect of the traffic source: wallet calls as HMAC-signed JSON, game list and launches."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pitboss.cli.simulate.calls import Answer, Call, Holder, to_decimal
from pitboss.cli.simulate.vendors import Game, Launch, Served

SIGNATURE_HEADER: Final = "x-request-sign"
GAMES_PATH: Final = "/api/v1/operator/games"
LAUNCH_PATH: Final = "/api/v1/softswiss/launcher/real"

GAMES: Final = {
    "harbour-lights": Game("Harbour Lights", "slots", 96.1),
    "nine-lanterns": Game("Nine Lanterns", "slots", 95.4),
    "paper-kites": Game("Paper Kites", "slots", 96.5),
    "copper-dice": Game("Copper Dice", "dice", 99.0),
    "long-jump": Game("Long Jump", "crash", 97.0),
    "pegs": Game("Pegs", "plinko", 98.0),
}
"""Games of the demo by their identifier."""


def sign(secret: bytes, body: bytes) -> str:
    """Return the signature of a body: HMAC-SHA256 in lower-case hex."""
    return hmac.digest(secret, body, "sha256").hex()


def encode(call: Call, holder: Holder) -> bytes:
    """Return the body of a call."""
    fields: dict[str, Any] = {
        "account_id": holder.account,
        "currency": holder.currency,
        "session_id": holder.session,
    }
    if call.operation != "finish":
        fields["game_id"] = holder.game
    if call.operation == "rollback":
        fields["round_id_provider"] = call.round
        fields["transactions"] = [
            {"id_provider": leg.reference, "type": "rollback", "original_id_provider": leg.original}
            for leg in call.legs
        ]
    elif call.operation != "balance":
        fields["round_id"] = call.round
    if call.operation == "betwin":
        fields["transactions"] = [
            {"id_provider": leg.reference, "type": leg.kind, "amount": to_decimal(leg.amount_minor, holder.decimals)}
            for leg in call.legs
        ]
    if call.operation in {"betwin", "rollback"}:
        fields["finished"] = call.finished
    return msgspec.json.encode(fields)


class _Movement(msgspec.Struct):
    id: str
    id_provider: str


class _Meta(msgspec.Struct):
    api_code: str
    balance: str = ""


class _Body(msgspec.Struct):
    balance: str = ""
    transactions: list[_Movement] = []
    meta: _Meta | None = None


def decode(status: int, body: bytes) -> Answer | None:
    """Return an answer in the aggregator's shape, or None: a proxy or a stopping server speaks otherwise."""
    try:
        read = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if (status == 200) is (read.meta is not None):
        return None
    if read.meta is not None:
        code = read.meta.api_code
        return Answer(status, code, read.meta.balance, (), body, f"{status} {code}")
    return Answer(status, "", read.balance, tuple(movement.id for movement in read.transactions), body, "200")


class _Account(msgspec.Struct):
    id: str
    currency: str


class _LaunchBody(msgspec.Struct):
    casino_id: str
    game: str
    account: _Account
    session_id: str


class Softswiss:
    """One operator's aggregator."""

    plugin = "softswiss"
    signature_header = SIGNATURE_HEADER
    many_in_one = True

    def __init__(self, casino_id: str, secret: bytes) -> None:
        self._casino_id = casino_id
        self._secret = secret
        self.games = dict(GAMES)

    def sign(self, body: bytes) -> str:
        """Return the signature of a wallet call."""
        return sign(self._secret, body)

    def write(self, call: Call, holder: Holder) -> tuple[str, bytes]:
        """Return operation and body of a call."""
        return call.operation, encode(call, holder)

    def keep_books(self, call: Call, holder: Holder, *, accepted: bool) -> None:
        """Keep no books: there is no call that asks for them."""

    def plant(self, fault: str) -> None:
        """Have no fault: there are no books."""

    def negate(self, body: bytes) -> bytes:
        """Return a bet's body with its amount below zero."""
        return body.replace(b'"amount":"', b'"amount":"-')

    def read(self, status: int, body: bytes, decimals: int) -> Answer | None:  # noqa: ARG002 amounts come as text
        """Understand an answer; None where it has not the shape of one."""
        return decode(status, body)

    def serve(self, asked: Served) -> tuple[int, Any] | Launch | None:
        """Answer a call of the platform; None for an address that is another's."""
        if (asked.method, asked.path) == ("GET", GAMES_PATH):
            return self._list_games(asked)
        if (asked.method, asked.path) == ("POST", LAUNCH_PATH):
            return self._launch(asked)
        return None

    def _list_games(self, asked: Served) -> tuple[int, Any]:
        if asked.query.get("operator", [self._casino_id]) != [self._casino_id]:
            return 404, {"status": 404, "code": "NOT_FOUND"}
        games: list[dict[str, Any]] = [
            {
                "title": game.title,
                "identifier": identifier,
                "category": game.category,
                "feature_group": self._casino_id,
                "payout": game.payout,
                "volatility_rating": "medium",
                "has_freespins": False,
                "bonus_buy": False,
                "demo_available": False,
                "thumbnail": f"{asked.base}/play/{identifier}.png",
                "images": [],
                "currencies": [],
                "restrictions": {},
            }
            for identifier, game in self.games.items()
        ]
        return 200, {"games": games}

    def _launch(self, asked: Served) -> tuple[int, Any] | Launch:
        claimed = asked.headers.get(SIGNATURE_HEADER, "")
        if not hmac.compare_digest(self.sign(asked.body).encode(), claimed.encode()):
            return 403, _refusal("403", "signature is not valid")
        try:
            body = msgspec.json.decode(asked.body, type=_LaunchBody)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return 400, _refusal("400", str(error))
        if body.casino_id != self._casino_id:
            return 400, _refusal("404", "casino_id is not known")
        if body.game not in self.games:
            return 400, _refusal("405", "game is not available")
        url = f"{asked.base}/play/{body.session_id}"
        answer = {"launch_url": url}
        return Launch(body.account.id, body.account.currency, body.game, body.session_id, body.session_id, answer)


def _refusal(api_code: str, message: str) -> dict[str, Any]:
    return {"code": "invalid_argument", "msg": message, "meta": {"api_code": api_code, "api_message": message}}


def make(config: Mapping[str, Any], secrets: Mapping[str, str]) -> Softswiss:
    """Return the aggregator that a tenant's configuration names; raise `KeyError` for what is missing."""
    return Softswiss(str(config["casino_id"]), secrets[config["api_secret"]["secret"]].strip().encode())
