"""Receivers of a SIEM with certificates of their own: HTTPS, and syslog over TLS (RFC 5425)."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Received:
    """What a receiver was sent, in its order; `status` is what HTTPS answers, `headers` those of the last request."""

    bodies: list[bytes] = field(default_factory=list[bytes])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    status: int = 200

    def events(self) -> list[dict[str, Any]]:
        """Return every event that arrived, repeated ones too."""
        return [json.loads(line) for body in list(self.bodies) for line in body.splitlines()]

    def places(self) -> list[int]:
        """Return the places in the log of what arrived."""
        return [event["metadata"]["sequence"] for event in self.events()]


@dataclass(frozen=True)
class Authority:
    """A certificate authority of one test, and a server's certificate from it."""

    pem: str
    server: ssl.SSLContext


def make_authority(folder: Path) -> Authority:
    """Make an authority, and a certificate for 127.0.0.1."""
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def begin(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        day = dt.timedelta(days=1)
        return builder.not_valid_before(now - day).not_valid_after(now + day)

    key_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = begin(name, ca_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    ca = ca.add_extension(usage, critical=True).add_extension(key_id, critical=False)
    pem = ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
    own = begin(x509.Name([]), key.public_key()).add_extension(names, critical=True)
    own = own.add_extension(above, critical=False)
    file = folder / "server.pem"
    file.write_bytes(
        own.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return Authority(pem.decode(), context)


@contextmanager
def receive_https(authority: Authority) -> Iterator[tuple[str, Received]]:
    """Yield the address of an HTTPS receiver and what it got."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.headers = {name.lower(): value for name, value in self.headers.items()}
            if received.status == 200:
                received.bodies.append(body)
            self.send_response(received.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = authority.server.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/events", received
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def receive_syslog(authority: Authority) -> Iterator[tuple[str, Received, list[str]]]:
    """Yield the address of a syslog receiver, what it got, and the headers of the messages."""
    received, headers = Received(), list[str]()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(raw: socket.socket) -> None:
        with suppress(OSError), authority.server.wrap_socket(raw, server_side=True) as connection:
            data = b""
            while piece := connection.recv(65536):
                data += piece
            with suppress(OSError):
                connection.unwrap()
            while data:
                length, _, rest = data.partition(b" ")
                message, data = rest[: int(length)], rest[int(length) :]
                head, _, body = message.partition(b" - {")
                headers.append(head.decode())
                received.bodies.append(b"{" + body)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", received, headers
    finally:
        listener.close()
