"""The witness: signs a log's checkpoint only after proof that it grew out of the last one (C2SP tlog-witness).

It shares nothing with the platform but the public keys of logs: a folder and a key of its own, no database.
"""

from __future__ import annotations

import os
import threading
from base64 import b64decode
from collections.abc import Callable, Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pitboss.audit.errors import KeyMissing
from pitboss.audit.rules.merkle import hash_tree, verify_consistency
from pitboss.audit.rules.note import (
    COSIGNATURE,
    Checkpoint,
    NoteInvalid,
    NoteKey,
    cosigned_message,
    is_signed,
    read_checkpoint,
    split_note,
    write_cosignature,
)
from pitboss.audit.runtime.keys import read_private_toml, read_seed
from pitboss.kernel.clock import epoch_seconds

MAX_REQUEST_BYTES: Final = 64 * 1024
_MAX_PROOF: Final = 63
_PLAIN: Final = "text/plain; charset=utf-8"
_SIZE: Final = "text/x.tlog.size"


class WitnessPolicy(msgspec.Struct, frozen=True):
    """Whose logs are witnessed: every log whose name begins so, signed by one of these keys."""

    prefix: str
    public_keys: tuple[bytes, ...]


class Answer(msgspec.Struct, frozen=True):
    """What a request got."""

    status: int
    body: str
    media_type: str = _PLAIN


def read_witness_file(path: Path) -> tuple[str, Ed25519PrivateKey, list[WitnessPolicy]]:
    """Return name, key and policies of a witness; raise `KeyMissing`."""
    found = read_private_toml(path)
    try:
        policies = [
            WitnessPolicy(str(log["prefix"]), tuple(bytes.fromhex(key) for key in log["public_keys"]))
            for log in found["logs"]
        ]
        name, key = str(found["name"]), read_seed(found["key"], f"key in {path}")
    except (KeyError, TypeError, ValueError):
        raise KeyMissing(f"{path} holds name, key, and a list of logs with prefix and public_keys") from None
    return name, key, policies


def describe_witness(path: Path) -> str:
    """Return the public key of the witness of a file, as auditors and cells are given it; raise `KeyMissing`."""
    name, key, _ = read_witness_file(path)
    return NoteKey(name, key.public_key().public_bytes_raw(), COSIGNATURE).text


class Witness:
    """Remembers the last checkpoint of each log in a file of its own, and signs what grew out of it."""

    def __init__(self, folder: Path, name: str, key: Ed25519PrivateKey, policies: Sequence[WitnessPolicy]) -> None:
        self._folder = folder
        self._signing = key
        self._policies = tuple(policies)
        self._lock = threading.Lock()
        self.key = NoteKey(name, key.public_key().public_bytes_raw(), COSIGNATURE)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add_checkpoint(self, body: bytes, now_seconds: Callable[[], int] = epoch_seconds) -> Answer:
        """Answer a request to cosign; nothing is signed that was not written down before."""
        try:
            old, proof, note = read_request(body)
            text, _ = split_note(note)
            offered = read_checkpoint(text)
        except (NoteInvalid, ValueError, UnicodeDecodeError):
            return Answer(400, "the request is not written as it must be\n")
        keys = [
            key for policy in self._policies if offered.origin.startswith(policy.prefix) for key in policy.public_keys
        ]
        if not keys:
            return Answer(404, "this log is not witnessed here\n")
        if not any(is_signed(note, NoteKey(offered.origin, key)) for key in keys):
            return Answer(403, "no key of this log has signed it\n")
        with self._lock:
            refusal = self._judge(offered, old, proof)
            if refusal is not None:
                return refusal
            self._remember(offered.origin, note)
        moment = now_seconds()
        signature = self._signing.sign(cosigned_message(text, moment))
        return Answer(200, f"{write_cosignature(self.key, moment, signature)}\n")

    def last(self, origin: str) -> Checkpoint | None:
        """Return the last checkpoint of a log that was signed here."""
        try:
            text, _ = split_note(self._file(origin).read_text())
        except FileNotFoundError:
            return None
        return read_checkpoint(text)

    def _judge(self, offered: Checkpoint, old: int, proof: list[bytes]) -> Answer | None:
        last = self.last(offered.origin)
        size, root = (0, hash_tree([])) if last is None else (last.size, last.root)
        if old > offered.size:
            return Answer(400, "the log would shrink\n")
        if old != size:
            return Answer(409, f"{size}\n", _SIZE)
        if offered.size == size and offered.root != root:
            return Answer(409, f"{size}\n", _SIZE)  # two logs of one size: a fork
        if not verify_consistency(size, root, offered.size, offered.root, proof):
            return Answer(422, "the proof does not show that the log grew out of what was signed before\n")
        return None

    def _file(self, origin: str) -> Path:
        return self._folder / f"{sha256(origin.encode()).hexdigest()}.note"

    def _remember(self, origin: str, note: str) -> None:
        """Write the checkpoint so that a crash leaves the old or the new one, on the disk."""
        file = self._file(origin)
        fresh = file.with_suffix(".new")
        with fresh.open("w") as out:
            out.write(note)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_request(body: bytes) -> tuple[int, list[bytes], str]:
    """Return old size, proof and note of a request; raise `ValueError`."""
    head, gap, note = body.decode().partition("\n\n")
    first, *lines = head.split("\n")
    word, _, size = first.partition(" ")
    if not gap or word != "old" or not (size.isascii() and size.isdigit()) or len(lines) > _MAX_PROOF:
        raise ValueError("a request begins with the old size and a proof")
    proof = [b64decode(line, validate=True) for line in lines]
    if any(len(each) != 32 for each in proof):
        raise ValueError("a hash has 32 bytes")
    return int(size), proof, note


def serve_witness(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server of one witness that listens already; `serve_forever` and `shutdown` are the caller's."""

    class Handler(BaseHTTPRequestHandler):
        """POST /add-checkpoint, and GET for probes and for the key."""

        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            """Cosign, or say why not."""
            length = self.headers.get("content-length", "")
            if self.path != "/add-checkpoint":
                self._answer(Answer(404, "there is /add-checkpoint\n"))
            elif not length.isdigit() or int(length) > MAX_REQUEST_BYTES:
                self.close_connection = True
                self._answer(Answer(413, "too large\n"))
            else:
                self._answer(witness.add_checkpoint(self.rfile.read(int(length))))

        def do_GET(self) -> None:
            """Answer probes, and give out the key of this witness."""
            found = {"/healthz": "ok\n", "/readyz": "ready\n", "/key": f"{witness.key.text}\n"}.get(self.path)
            self._answer(Answer(404, "nothing is here\n") if found is None else Answer(200, found))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server names it
            """Write no access log: the answers are what counts, and they are signed."""

        def _answer(self, answer: Answer) -> None:
            data = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("content-type", answer.media_type)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return ThreadingHTTPServer((host, port), Handler)
