"""The Hub88 dialect of the traffic source, in both flavours: RSA-signed JSON, one movement a call."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid4, uuid5

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from pitboss.cli.simulate.calls import (
    BAD_REQUEST,
    INSUFFICIENT,
    INTERNAL,
    NOT_FOUND,
    ROLLED_BACK,
    SIGNATURE,
    UNAVAILABLE,
    Answer,
    Call,
    Holder,
    to_decimal,
)
from pitboss.cli.simulate.vendors import Game, Launch, Served
from pitboss.kernel.clock import utc_now

GAMES: Final = {
    "h88_lantern_bay": Game("Lantern Bay", "Video Slots", 96.2),
    "h88_seven_locks": Game("Seven Locks", "Video Slots", 95.8),
    "h88_keno_quay": Game("Keno Quay", "Live Keno", 94.9),
    "h88_bingo_tram": Game("Bingo Tram", "Video Bingo", 95.1),
}
"""Games of the demo by their code."""
_WIRE_DECIMALS: Final = 5
_TIME: Final = "%Y-%m-%dT%H:%M:%S"
_BOOKS_KEPT: Final = 200_000
"""Transactions that the aggregator remembers for its list."""
_CODES: Final = {
    "RS_ERROR_NOT_ENOUGH_MONEY": INSUFFICIENT,
    "RS_ERROR_WRONG_SYNTAX": BAD_REQUEST,
    "RS_ERROR_WRONG_TYPES": BAD_REQUEST,
    "RS_ERROR_DUPLICATE_TRANSACTION": BAD_REQUEST,
    "RS_ERROR_INVALID_SIGNATURE": SIGNATURE,
    "RS_ERROR_INVALID_PARTNER": NOT_FOUND,
    "RS_ERROR_TRANSACTION_ROLLED_BACK": ROLLED_BACK,
    "RS_ERROR_TRANSACTION_DOES_NOT_EXIST": INTERNAL,
    "RS_ERROR_UNKNOWN": UNAVAILABLE,
}


class _Body(msgspec.Struct):
    status: str
    request_uuid: str = ""
    balance: int | None = None


class _Asked(msgspec.Struct):
    operator_id: int | str


class _ListBody(msgspec.Struct):
    operator_id: int | str
    start_time: str = ""
    end_time: str = ""
    round: str = ""


class _LaunchBody(msgspec.Struct):
    operator_id: int | str
    user: str
    token: str
    game_code: str
    currency: str
    country: str
    lang: str
    lobby_url: str


class Hub88:
    """One operator's aggregator: it signs with its own key and knows the operator's public one."""

    plugin = "hub88"
    many_in_one = False

    def __init__(self, flavour: str, operator_id: str, key: RSAPrivateKey, operators: RSAPrivateKey) -> None:
        caleta = flavour == "caleta"
        self.signature_header = "x-auth-signature" if caleta else "x-hub88-signature"
        self._prefix = "/api/game/" if caleta else "/operator/generic/v2/game/"
        self._books_path = "" if caleta else "/operator/generic/v2/transactions/list"
        self._books: dict[str, dict[str, Any]] = {}
        self._books_since = utc_now().strftime(_TIME)
        self._fault = ""
        self._operator = operator_id
        self._key = key
        self._operators_key = operators.public_key()
        self.games = dict(GAMES)

    def sign(self, body: bytes) -> str:
        """Return the signature of a wallet call."""
        return b64encode(self._key.sign(body, PKCS1v15(), SHA256())).decode()

    def write(self, call: Call, holder: Holder) -> tuple[str, bytes]:
        """Return operation and body of a call; the end of a round is told by a win of nothing."""
        said = f"{call.operation} {call.round} {call.finished} {call.legs}"
        fields: dict[str, Any] = {
            # The same call again is the same request.
            "request_uuid": str(uuid5(NAMESPACE_URL, said)),
            "token": holder.session,
            "user": holder.account,
            "game_code": holder.game,
        }
        if call.operation == "balance":
            return "balance", msgspec.json.encode(fields)
        fields |= {"round": call.round, "round_closed": call.finished or call.operation == "finish"}
        if call.operation == "rollback":
            (leg,) = call.legs
            fields |= {"transaction_uuid": leg.reference, "reference_transaction_uuid": leg.original}
            return "rollback", msgspec.json.encode(fields)
        fields |= {"currency": holder.currency, "is_free": False, "supplier_user": holder.account[-12:]}
        if call.operation == "finish":
            ids = {"transaction_uuid": f"{call.round}-end", "reference_transaction_uuid": f"{call.round}-bet"}
            return "win", msgspec.json.encode({**fields, **ids, "amount": 0})
        (leg,) = call.legs
        fields |= {
            "transaction_uuid": leg.reference,
            "amount": leg.amount_minor * 10**_WIRE_DECIMALS // 10**holder.decimals,
        }
        if leg.kind == "win":
            fields["reference_transaction_uuid"] = f"{call.round}-bet"
        return leg.kind, msgspec.json.encode(fields)

    def keep_books(self, call: Call, holder: Holder, *, accepted: bool) -> None:
        """Write what a call was answered for good into the aggregator's own books; a fault that is planted comes true."""
        for leg in call.legs:
            known = self._books.get(leg.reference)
            if known is not None:
                known["status"] = "TS_SUCCESS" if accepted else known["status"]
                continue
            entry = {
                "transaction_uuid": leg.reference,
                "kind": f"TK_{leg.kind.upper()}",
                "status": "TS_SUCCESS" if accepted else "TS_DECLINED",
                "amount": leg.amount_minor * 10**_WIRE_DECIMALS // 10**holder.decimals,
                "currency": holder.currency,
                "round": call.round,
                "user": holder.account,
                "game_code": holder.game,
                "inserted_at": utc_now().strftime(_TIME),
            }
            self._books[leg.reference] = entry
            if leg.kind == "bet" and accepted:
                self._spoil(entry)
        while len(self._books) > _BOOKS_KEPT:
            del self._books[next(iter(self._books))]

    def plant(self, fault: str) -> None:
        """Let the books have a fault from the next bet on: `lose` one whose call was never sent, or `double` one."""
        self._fault = fault

    def _spoil(self, entry: dict[str, Any]) -> None:
        name = str(entry["transaction_uuid"])
        if self._fault == "lose":
            self._books[f"{name}-lost"] = {**entry, "transaction_uuid": f"{name}-lost"}
        if self._fault == "double":
            self._books[f"{name} again"] = entry
        self._fault = ""

    def negate(self, body: bytes) -> bytes:
        """Return a bet's body with its amount below zero."""
        return body.replace(b'"amount":', b'"amount":-')

    def read(self, status: int, body: bytes, decimals: int) -> Answer | None:
        """Understand an answer; None where it has not the shape of one. Every answer has HTTP 200."""
        try:
            read = msgspec.json.decode(body, type=_Body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        code = "" if read.status == "RS_OK" else _CODES.get(read.status, read.status)
        if status != 200 or (read.balance is None) is (code in {"", INSUFFICIENT}):
            return None
        meaning = 200 if not code else 500 if code in {INTERNAL, UNAVAILABLE} else 400
        balance = ""
        if read.balance is not None:
            amount_minor, rest = divmod(read.balance * 10**decimals, 10**_WIRE_DECIMALS)
            balance = f"{read.balance} in 1/100000" if rest else to_decimal(amount_minor, decimals)
        return Answer(meaning, code, balance, None, body, read.status)

    def serve(self, asked: Served) -> tuple[int, Any] | Launch | None:
        """Answer a call of the platform; None for an address that is another's."""
        known = {f"{self._prefix}list", f"{self._prefix}url", *filter(None, [self._books_path])}
        if asked.method != "POST" or asked.path not in known:
            return None
        try:
            signature = b64decode(asked.headers.get(self.signature_header, ""), validate=True)
            self._operators_key.verify(signature, asked.body, PKCS1v15(), SHA256())
            operator = msgspec.json.decode(asked.body, type=_Asked).operator_id
        except (InvalidSignature, ValueError):
            return 401, {"error": "Request signature is invalid"}
        if str(operator) != self._operator:
            return 404, {"error": "The operator_id does not correspond to any existing Operator"}
        if asked.path == self._books_path:
            return self._list_books(asked.body)
        return self._list_games() if asked.path.endswith("list") else self._launch(asked)

    def _list_games(self) -> tuple[int, Any]:
        games = [
            {
                "game_code": code,
                "name": game.title,
                "category": game.category,
                "product": "Pitboss Demo",
                "platforms": ["GPL_DESKTOP", "GPL_MOBILE"],
                "enabled": True,
                "rtp": str(game.payout),
                "blocked_countries": [],
            }
            for code, game in self.games.items()
        ]
        return 200, games

    def _list_books(self, body: bytes) -> tuple[int, Any]:
        try:
            asked = msgspec.json.decode(body, type=_ListBody)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return 400, {"error": str(error)}
        if not asked.round and not (asked.start_time and asked.end_time):
            return 400, {"error": "start_time and end_time, or round"}
        if asked.round:
            of_round = [each for each in self._books.values() if each["round"] == asked.round]
            return (200, of_round) if of_round else (404, {"error": "The round requested does not exist"})
        if asked.start_time < self._books_since:
            # Half of an hour would look like gaps: what was before this process, its books do not hold.
            return 503, {"error": f"these books begin at {self._books_since}"}
        told = self._books.values()
        return 200, [each for each in told if asked.start_time <= each["inserted_at"] <= asked.end_time]

    def _launch(self, asked: Served) -> tuple[int, Any] | Launch:
        try:
            body = msgspec.json.decode(asked.body, type=_LaunchBody)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return 400, {"error": str(error)}
        if body.game_code not in self.games:
            return 404, {"error": "The game requested does not exist"}
        ticket = uuid4().hex
        answer = {"url": f"{asked.base}/play/{ticket}"}
        return Launch(body.user, body.currency, body.game_code, body.token, ticket, answer)


def make(config: Mapping[str, Any], secrets: Mapping[str, str]) -> Hub88:
    """Return the aggregator that a tenant's configuration names; raise `KeyError` for what is missing.

    The demo makes the aggregator's key pair together; its private half lies beside the public one.
    """
    theirs = str(config["aggregator_public_key"]["secret"]).removesuffix("-public-key") + "-private-key"
    ours = str(config["private_key"]["secret"])
    return Hub88(str(config["flavour"]), str(config["operator_id"]), _load(secrets[theirs]), _load(secrets[ours]))


def _load(text: str) -> RSAPrivateKey:
    text = text.strip()
    pem = text.startswith("-----BEGIN ")
    key = load_pem_private_key(text.encode(), None) if pem else load_der_private_key(b64decode(text), None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("not an RSA key")
    return key
