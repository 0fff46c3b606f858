"""A stand-in for the transit engine, after its HTTP API's documentation and the refusals that its source has."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CIPHERTEXT = re.compile(r"vault:v(\d+):(.+)")


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


@dataclass
class Key:
    versions: dict[int, bytes] = field(default_factory=lambda: {1: os.urandom(32)})
    min_decryption: int = 1
    min_encryption: int = 0
    min_available: int = 0
    deletion_allowed: bool = False


class Transit:
    """The engine's keys; `status` other than 200 is what everything is answered with."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.keys: dict[str, Key] = {}
        self.status = 200
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, token: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if self.status != 200:
            raise Refusal(self.status, "Vault is sealed")
        if token != self.token:
            raise Refusal(403, "permission denied")
        match = re.fullmatch(r"/v1/transit/(keys|encrypt|decrypt)/([\w.-]+)(?:/(rotate|config|trim))?", path)
        if match is None:
            raise Refusal(404, "unsupported path")
        what, name, action = match.groups()
        with self.lock:
            if what != "keys":
                return self.encrypt(name, body) if what == "encrypt" else self.decrypt(name, body)
            if action is None:
                return {"GET": self.read, "POST": self.make, "DELETE": self.delete}[method](name)
            return getattr(self, action)(name, body)

    def make(self, name: str) -> None:
        self.keys.setdefault(name, Key())

    def read(self, name: str) -> dict[str, Any]:
        if name not in self.keys:
            raise Refusal(404, "")
        key = self.keys[name]
        return {
            "name": name,
            "keys": {str(version): 1 for version in key.versions if version >= key.min_decryption},
            "latest_version": max(key.versions),
            "min_decryption_version": key.min_decryption,
            "min_encryption_version": key.min_encryption,
            "min_available_version": key.min_available,
        }

    def get(self, name: str, message: str) -> Key:
        if name not in self.keys:
            raise Refusal(400, message)
        return self.keys[name]

    def delete(self, name: str) -> None:
        if not self.get(name, "could not delete key; not found").deletion_allowed:
            raise Refusal(400, "deletion is not allowed for this key")
        del self.keys[name]

    def rotate(self, name: str, _body: dict[str, Any]) -> None:
        key = self.get(name, "key not found")
        key.versions[max(key.versions) + 1] = os.urandom(32)

    def config(self, name: str, body: dict[str, Any]) -> None:
        key = self.get(name, "no existing key named that could be found")
        least = body.get("min_decryption_version", key.min_decryption)
        if not key.min_available <= least <= max(key.versions):
            raise Refusal(400, "cannot set min decryption version")
        key.min_decryption = max(least, 1)
        key.min_encryption = body.get("min_encryption_version", key.min_encryption)
        key.deletion_allowed = body.get("deletion_allowed", key.deletion_allowed)

    def trim(self, name: str, body: dict[str, Any]) -> None:
        key = self.get(name, "invalid key name")
        version = body["min_available_version"]
        if version < key.min_available:
            raise Refusal(400, "minimum available version cannot be decremented")
        if key.min_encryption == 0:
            raise Refusal(400, "minimum available version cannot be set when minimum encryption version is not set")
        if version > min(key.min_encryption, key.min_decryption):
            raise Refusal(400, "minimum available version cannot be greater than minimum decryption version")
        key.min_available = version
        for old in [each for each in key.versions if each < version]:
            del key.versions[old]

    def encrypt(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self.make(name)
        key = self.keys[name]
        version, nonce = max(key.versions), os.urandom(12)
        context = base64.b64decode(body.get("associated_data", ""))
        sealed = AESGCM(key.versions[version]).encrypt(nonce, base64.b64decode(body["plaintext"]), context)
        return {"ciphertext": f"vault:v{version}:{base64.b64encode(nonce + sealed).decode()}"}

    def decrypt(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        key = self.get(name, "encryption key not found")
        match = CIPHERTEXT.fullmatch(body["ciphertext"])
        if match is None:
            raise Refusal(400, "invalid ciphertext: no prefix")
        version, sealed = int(match[1]), base64.b64decode(match[2])
        if version > max(key.versions):
            raise Refusal(400, "invalid ciphertext: version is too new")
        if version < key.min_decryption:
            raise Refusal(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            plain = AESGCM(key.versions[version]).decrypt(
                sealed[:12], sealed[12:], base64.b64decode(body.get("associated_data", ""))
            )
        except (InvalidTag, ValueError):
            raise Refusal(400, "invalid ciphertext: unable to decrypt") from None
        return {"plaintext": base64.b64encode(plain).decode()}


@contextmanager
def serve_transit(port: int, transit: Transit) -> Iterator[str]:
    """Serve an engine and return its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length) or b"{}")
            try:
                data = transit.answer(self.command, self.path, self.headers.get("x-vault-token", ""), body)
                status, said = (204, b"") if data is None else (200, json.dumps({"data": data}).encode())
            except Refusal as refusal:
                said = json.dumps({"errors": [refusal.message] if refusal.message else []}).encode()
                status = refusal.status
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = reply  # noqa: N815 - the standard library names them

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
