"""The dialects in which the hostile aggregators speak."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

import httpx
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import load_der_private_key
from tests.factories.money import Seat


@dataclass(frozen=True)
class Step:
    """One movement that is asked for."""

    kind: str
    ref: str
    amount_minor: int
    original: str = ""


@dataclass(frozen=True)
class Wish:
    """What a call is to say: `play`, `rollback` or `finish`; `more` are fields to be said wrongly."""

    operation: str
    steps: tuple[Step, ...] = ()
    finished: bool = False
    more: Mapping[str, str] = field(default_factory=dict[str, str])

    def split(self) -> list[Wish]:
        """Return a wish for each step; the last one ends the round where all together did."""
        if len(self.steps) < 2:
            return [self]
        last = self.steps[-1]
        return [Wish(self.operation, (step,), self.finished and step is last, self.more) for step in self.steps]


@dataclass(frozen=True)
class Told:
    """What a call was answered: '200', or the code of a refusal; `ids` is None where a dialect tells none."""

    code: str
    balance: str | None
    ids: tuple[tuple[str, str], ...] | None


class Speech(Protocol):
    """One aggregator's words."""

    plugin: str
    signature_header: str
    many_in_one: bool
    bet: str
    """The operation that takes bets."""
    unknown_operation: str

    def sign(self, body: bytes) -> str: ...

    def list_forgeries(self, body: bytes) -> list[str]: ...

    def write(self, round_name: str, seat: Seat, wish: Wish) -> tuple[str, bytes]: ...

    def read(self, answer: httpx.Response) -> Told: ...


class Softswiss:
    """Decimal strings under an HMAC; an answer's HTTP status says whether to come again."""

    plugin, signature_header, many_in_one = "softswiss", "x-request-sign", True
    bet, unknown_operation = "betwin", "404"

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def sign(self, body: bytes) -> str:
        return hmac.digest(self._secret, body, "sha256").hex()

    def list_forgeries(self, body: bytes) -> list[str]:
        true = self.sign(body)
        shouted = true.upper() if true.upper() != true else "x"
        return ["", "0" * 64, true[:-1], shouted, self.sign(b"another body")]

    def write(self, round_name: str, seat: Seat, wish: Wish) -> tuple[str, bytes]:
        body: dict[str, Any] = {
            "account_id": wish.more.get("account", seat.account),
            "currency": wish.more.get("currency", seat.currency),
        }
        if wish.operation == "finish":
            return "finish", json.dumps({**body, "round_id": round_name}).encode()
        body |= {"game_id": wish.more.get("game", "dice"), "session_id": wish.more.get("session", seat.session)}
        if wish.operation == "rollback":
            steps = [{"id_provider": s.ref, "type": s.kind, "original_id_provider": s.original} for s in wish.steps]
            return "rollback", json.dumps({**body, "round_id_provider": round_name, "transactions": steps}).encode()
        steps = [
            {
                "id_provider": s.ref,
                "type": s.kind,
                "amount": f"{s.amount_minor // 100}.{s.amount_minor % 100:02d}",
            }
            for s in wish.steps
        ]
        finished = {"finished": True} if wish.finished else {}
        return "betwin", json.dumps({**body, "round_id": round_name, "transactions": steps, **finished}).encode()

    def read(self, answer: httpx.Response) -> Told:
        said = answer.json()
        if answer.status_code != 200:
            meta = said.get("meta", {})
            code = str(meta.get("api_code", ""))
            if (answer.status_code >= 500) is not (code in {"500", "503"}):
                code = f"HTTP {answer.status_code} with {code}"
            return Told(code, meta.get("balance"), ())
        ids = tuple((step["id_provider"], step["id"]) for step in said.get("transactions", ()))
        return Told("200", said["balance"], ids)


_CODES = {
    "RS_OK": "200",
    "RS_ERROR_NOT_ENOUGH_MONEY": "100",
    "RS_ERROR_INVALID_TOKEN": "101",
    "RS_ERROR_TOKEN_EXPIRED": "101",
    "RS_ERROR_INVALID_GAME": "107",
    "RS_ERROR_USER_DISABLED": "110",
    "RS_ERROR_WRONG_CURRENCY": "154",
    "RS_ERROR_WRONG_SYNTAX": "400",
    "RS_ERROR_WRONG_TYPES": "400",
    "RS_ERROR_DUPLICATE_TRANSACTION": "400",
    "RS_ERROR_INVALID_SIGNATURE": "403",
    "RS_ERROR_INVALID_PARTNER": "404",
    "RS_ERROR_TRANSACTION_ROLLED_BACK": "409",
    "RS_ERROR_TRANSACTION_DOES_NOT_EXIST": "500",
    "RS_ERROR_UNKNOWN": "503",
}


class Hub88:
    """Whole numbers in 1/100000 under an RSA signature; one movement a call, and HTTP 200 for everything."""

    plugin, signature_header, many_in_one = "hub88", "x-hub88-signature", False
    bet, unknown_operation = "bet", "400"

    def __init__(self, private_key: str, others_key: str) -> None:
        self._texts = private_key, others_key
        self.sign = lru_cache(maxsize=None)(self._sign)

    @cached_property
    def _keys(self) -> tuple[RSAPrivateKey, RSAPrivateKey]:
        mine, others = (load_der_private_key(b64decode(text), None) for text in self._texts)
        assert isinstance(mine, RSAPrivateKey)
        assert isinstance(others, RSAPrivateKey)
        return mine, others

    def _sign(self, body: bytes) -> str:
        return b64encode(self._keys[0].sign(body, PKCS1v15(), SHA256())).decode()

    def list_forgeries(self, body: bytes) -> list[str]:
        true = self.sign(body)
        others = b64encode(self._keys[1].sign(body, PKCS1v15(), SHA256())).decode()
        weaker = b64encode(self._keys[0].sign(body, PKCS1v15(), SHA512())).decode()
        return ["", "A" * 344, true[:-4], true.swapcase(), self.sign(b"another body"), others, weaker]

    def write(self, round_name: str, seat: Seat, wish: Wish) -> tuple[str, bytes]:
        session, account = wish.more.get("session", seat.session), wish.more.get("account", seat.account)
        body: dict[str, Any] = {
            "request_uuid": str(uuid5(NAMESPACE_URL, f"{round_name} {wish.operation} {wish.steps}")),
            "token": f"{session}.{account}.{seat.currency}",
            "round": round_name,
            "round_closed": wish.finished,
            "game_code": wish.more.get("game", "dice"),
        }
        if wish.operation == "rollback":
            (step,) = wish.steps
            body |= {"transaction_uuid": step.ref, "reference_transaction_uuid": step.original}
            return "rollback", json.dumps(body).encode()
        body |= {"currency": wish.more.get("currency", seat.currency), "is_free": False, "supplier_user": "x"}
        if wish.operation == "finish":
            body |= {"transaction_uuid": f"{round_name}-end", "reference_transaction_uuid": round_name, "amount": 0}
            return "win", json.dumps(body).encode()
        (step,) = wish.steps
        body |= {"transaction_uuid": step.ref, "amount": step.amount_minor * 1_000}
        if step.kind == "win":
            body["reference_transaction_uuid"] = f"the bet of {round_name}"
        return step.kind, json.dumps(body).encode()

    def read(self, answer: httpx.Response) -> Told:
        said = answer.json()
        status = str(said.get("status", ""))
        code = _CODES.get(status, status) if answer.status_code == 200 else f"HTTP {answer.status_code}"
        wire = said.get("balance")
        if (wire is None) is (code in {"200", "100"}):
            code = f"{code} with balance {wire}"
        balance = None if wire is None else f"{wire // 100_000}.{wire // 1_000 % 100:02d}"
        return Told(code, balance, None if code == "200" else ())
