"""How events leave for a SIEM: lines of a file, syslog over TLS (RFC 5424, 5425), or HTTPS; each says whether all arrived."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

SEND_SECONDS: Final = 20.0
"""How long a destination may take over one batch."""
_CLOSE_SECONDS: Final = 5.0
_LOG_AUDIT: Final = 13
_SYSLOG_SEVERITY: Final = {1: 6, 2: 5, 3: 4, 4: 3}
_MAX_MESSAGE_ID: Final = 32


class SendFailed(Exception):
    """The destination did not take the batch, or did not say so; the text names the situation and no content."""


class OutgoingEvent(msgspec.Struct, frozen=True):
    """An event as it leaves: JSON in ASCII, and what a syslog header says of it."""

    line: bytes
    moment: str
    kind: str
    severity_id: int
    host: str
    tenant: str


class Target(msgspec.Struct, frozen=True):
    """Where to send: `file` and a folder, `syslog` and host:port, `https` and an address."""

    kind: str
    address: str
    authorities: str = ""
    secret: str = ""


def find_target_fault(target: Target) -> str:
    """Return why nothing can be sent to a target, empty where it makes sense."""
    if target.authorities:
        try:
            _trust(target)
        except (ssl.SSLError, ValueError, TypeError):
            return "the certificates are no PEM"
    if target.kind == "file":
        return (
            "" if target.address.startswith("/") and not target.secret else "a file has an absolute folder, no secret"
        )
    if target.kind == "syslog":
        host, _, port = target.address.rpartition(":")
        fits = bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65536
        return "" if fits and not target.secret else "syslog has host:port, and no secret"
    if target.kind == "https":
        parts = urlsplit(target.address)
        fits = parts.scheme == "https" and bool(parts.hostname) and parts.username is None
        return "" if fits else "the address begins with https:// and names no user"
    return "the kind is file, syslog or https"


async def send_events(target: Target, events: Sequence[OutgoingEvent]) -> None:
    """Send a batch; raise `SendFailed` unless the destination has it all. A batch may arrive again after a failure."""
    senders = {"file": _send_to_file, "syslog": _send_to_syslog, "https": _send_over_https}
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await senders[target.kind](target, events)
    except TimeoutError:
        raise SendFailed("it took too long") from None
    except ssl.SSLCertVerificationError:
        raise SendFailed("its certificate is not believed") from None
    except (OSError, ssl.SSLError, httpx.HTTPError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):  # as the HTTP client tells of it
            raise SendFailed("its certificate is not believed") from None
        raise SendFailed(f"it cannot be reached ({type(error).__name__})") from None


async def _send_to_file(target: Target, events: Sequence[OutgoingEvent]) -> None:
    await asyncio.to_thread(_append, Path(target.address), events)


def _append(folder: Path, events: Sequence[OutgoingEvent]) -> None:
    """Append lines to the file of the day that each was recorded on; a line that a kill cut off is taken away."""
    by_day: dict[str, list[bytes]] = {}
    for event in events:
        by_day.setdefault(event.moment[:10], []).append(event.line + b"\n")
    for day, lines in by_day.items():
        path = folder / f"ocsf-{day}.jsonl"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            tail = min(end, 1024 * 1024)
            file.seek(end - tail)
            whole = file.read(tail).rfind(b"\n") + 1
            file.truncate(end - tail + whole)
            file.seek(0, os.SEEK_END)
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())


async def _send_to_syslog(target: Target, events: Sequence[OutgoingEvent]) -> None:
    """Send frames with their length before them; the receiver has them when it has closed after our own close.

    Syslog answers nothing: a receiver that dies after its close loses what it had not kept.
    """
    host, _, port = target.address.rpartition(":")
    reader, writer = await asyncio.open_connection(
        host.strip("[]"),
        int(port),
        ssl=_trust(target),
        ssl_handshake_timeout=_CLOSE_SECONDS,
        ssl_shutdown_timeout=_CLOSE_SECONDS,
    )
    try:
        for event in events:
            frame = compose_syslog(event)
            writer.write(b"%d %s" % (len(frame), frame))
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        if reader.exception() is not None:
            raise ConnectionResetError
    finally:
        writer.transport.abort()


def compose_syslog(event: OutgoingEvent) -> bytes:
    """Return a message of RFC 5424, facility log audit; the tenant stands where a process id would."""
    priority = _LOG_AUDIT * 8 + _SYSLOG_SEVERITY.get(event.severity_id, 2)
    header = f"<{priority}>1 {event.moment} {event.host} pitboss {event.tenant} {event.kind[:_MAX_MESSAGE_ID]} - "
    return header.encode() + event.line


async def _send_over_https(target: Target, events: Sequence[OutgoingEvent]) -> None:
    headers = {"content-type": "application/x-ndjson"}
    if target.secret:
        headers["authorization"] = target.secret
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=0)
    async with httpx.AsyncClient(
        verify=_trust(target), trust_env=False, follow_redirects=False, limits=limits, timeout=SEND_SECONDS
    ) as client:
        body = b"".join(event.line + b"\n" for event in events)
        async with client.stream("POST", target.address, content=body, headers=headers) as answer:
            if not answer.is_success:
                raise SendFailed(f"it answered {answer.status_code}")


def _trust(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=target.authorities or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
