"""The aggregator's own server: its list of games, and launches that the platform signs."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from pitboss.cli.simulate.calls import SIGNATURE_HEADER, sign

GAMES_PATH: Final = "/api/v1/operator/games"
LAUNCH_PATH: Final = "/api/v1/softswiss/launcher/real"
_MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_BODY_BYTES: Final = 64 * 1024
_TIMEOUT_SECONDS: Final = 15

GAMES: Final = {
    "harbour-lights": ("Harbour Lights", "slots", 96.1),
    "nine-lanterns": ("Nine Lanterns", "slots", 95.4),
    "paper-kites": ("Paper Kites", "slots", 96.5),
    "copper-dice": ("Copper Dice", "dice", 99.0),
    "long-jump": ("Long Jump", "crash", 97.0),
    "pegs": ("Pegs", "plinko", 98.0),
}
"""Games of the demo: identifier to title, category and return to player in percent."""


class Launch(msgspec.Struct, frozen=True):
    """What a launch told: the only place from which the aggregator knows an account."""

    account: str
    currency: str
    game: str
    session: str


class _Account(msgspec.Struct):
    id: str
    currency: str


class _LaunchBody(msgspec.Struct):
    casino_id: str
    game: str
    account: _Account
    session_id: str


class Aggregator:
    """Answers the platform on one port; launches are kept until their player takes them."""

    def __init__(self, casino_id: str, secret: bytes, host: str, port: int) -> None:
        self._casino_id = casino_id
        self._secret = secret
        self._host = host
        self._port = port
        self.games = dict(GAMES)
        self._launches: dict[str, Launch] = {}

    async def start(self) -> asyncio.Server:
        """Begin to listen; raise `OSError` when the port is taken."""
        return await asyncio.start_server(self._serve, self._host, self._port, limit=_MAX_HEAD_BYTES)

    def take_launch(self, session: str) -> Launch | None:
        """Return, once, what the launch of a session told."""
        return self._launches.pop(session, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                method, target = first.split(" ")[:2]
                headers = {
                    name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
                }
                size_bytes = int(headers.get("content-length") or 0)
                body = await reader.readexactly(size_bytes) if 0 < size_bytes <= _MAX_BODY_BYTES else b""
                status, answer = self._choose(method, target, headers, body)
                content = msgspec.json.encode(answer)
                writer.write(
                    f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode()
                )
                writer.write(content)
                await writer.drain()
        writer.close()

    def _choose(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        if (method, parts.path) == ("GET", "/healthz"):
            return 200, {"status": "ok"}
        if (method, parts.path) == ("GET", GAMES_PATH):
            return self._list_games(parse_qs(parts.query))
        if (method, parts.path) == ("POST", LAUNCH_PATH):
            return self._launch(headers, body)
        if method == "GET" and parts.path.startswith("/play/"):
            return 200, {"title": "There is no game to see here: its rounds are played by the traffic source."}
        return 404, {"status": 404, "code": "NOT_FOUND"}

    def _list_games(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        if query.get("operator", [self._casino_id]) != [self._casino_id]:
            return 404, {"status": 404, "code": "NOT_FOUND"}
        base = f"http://{self._host}:{self._port}"
        games: list[dict[str, Any]] = [
            {
                "title": title,
                "identifier": identifier,
                "category": category,
                "feature_group": self._casino_id,
                "payout": payout,
                "volatility_rating": "medium",
                "has_freespins": False,
                "bonus_buy": False,
                "demo_available": False,
                "thumbnail": f"{base}/play/{identifier}.png",
                "images": [],
                "currencies": [],
                "restrictions": {},
            }
            for identifier, (title, category, payout) in self.games.items()
        ]
        return 200, {"games": games}

    def _launch(self, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        claimed = headers.get(SIGNATURE_HEADER, "")
        if not hmac.compare_digest(sign(self._secret, body).encode(), claimed.encode()):
            return 403, _refusal("403", "signature is not valid")
        try:
            asked = msgspec.json.decode(body, type=_LaunchBody)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return 400, _refusal("400", str(error))
        if asked.casino_id != self._casino_id:
            return 400, _refusal("404", "casino_id is not known")
        if asked.game not in self.games:
            return 400, _refusal("405", "game is not available")
        session = asked.session_id
        self._launches[session] = Launch(asked.account.id, asked.account.currency, asked.game, session)
        return 200, {"launch_url": f"http://{self._host}:{self._port}/play/{session}"}


def _refusal(api_code: str, message: str) -> dict[str, Any]:
    return {"code": "invalid_argument", "msg": message, "meta": {"api_code": api_code, "api_message": message}}
