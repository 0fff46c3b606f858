"""Spans of what a process does, told to a collector where one is named; where none is, a span costs one look.

A span has a name of our own and fields of the allow-list. It begins a trace or goes on with one that came by a way
that only our own processes can write: a signed call, a row of the outbox. Headers of callers are never read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from pitboss.platform.fields import EVENT_NAME, Value, keep_allowed

if TYPE_CHECKING:
    from pitboss.platform.settings import Settings
    from pitboss.platform.telemetry import Metrics

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class SpanName(StrEnum):
    """Every span that there is."""

    HTTP_REQUEST = "http.request"
    WALLET_CALL = "wallet.call"
    TENANT_COMMAND = "tenant.command"
    CELL_CALL = "cell.call"
    CELL_ANSWER = "cell.answer"
    JOB_SEND = "job.send"
    JOB_RUN = "job.run"
    PLUGIN_CALL = "plugin.call"


class TraceLink(NamedTuple):
    """Where a span stands: what its children, in this process or another, are hung on."""

    trace_id: str
    span_id: str
    is_sampled: bool

    @property
    def traceparent(self) -> str:
        """Return it as W3C Trace Context writes it."""
        return f"00-{self.trace_id}-{self.span_id}-0{int(self.is_sampled)}"


def read_traceparent(text: object) -> TraceLink | None:
    """Return the link, or None for anything but version 00 to the letter: nothing rides along with two ids and a bit."""
    found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[1] == _NO_TRACE or found[2] == _NO_SPAN:
        return None
    return TraceLink(found[1], found[2], found[3] == "1")


class OpenSpan(Protocol):
    """A span that a recorder has begun."""

    link: TraceLink

    def tell(self, fields: Mapping[str, Value]) -> None:
        """Add fields that passed the allow-list."""
        ...

    def fail(self) -> None:
        """Mark it as failed."""
        ...

    def end(self) -> None:
        """End it."""
        ...


class Recorder(Protocol):
    """What makes spans and sends them, without ever holding up its caller."""

    def begin(self, name: SpanName, parent: TraceLink | None, seconds_ago: float) -> OpenSpan:
        """Begin a span, now or a while ago."""
        ...

    def count_dropped(self, fields: int) -> None:
        """Count fields that the allow-list held back."""
        ...


_recorder: Recorder | None = None
_current: ContextVar[TraceLink | None] = ContextVar("pitboss_trace", default=None)


class NoSpan:
    """What `span` gives while nothing is recorded: one object for all."""

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Do nothing."""

    def note(self, **fields: object) -> None:
        """Drop what is told."""

    def fail(self, error: BaseException | None = None) -> None:
        """Drop that it failed."""


class LiveSpan(NoSpan):
    """A span that is recorded; within its block it is the current one."""

    def __init__(self, recorder: Recorder, name: SpanName, parent: TraceLink | None, seconds_ago: float) -> None:
        self._recorder = recorder
        self._open = recorder.begin(name, parent, seconds_ago)
        self._token: Token[TraceLink | None] | None = None

    def __enter__(self) -> Self:
        """Make it the current span."""
        self._token = _current.set(self._open.link)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End it, as failed when an exception passes."""
        if self._token is not None:
            _current.reset(self._token)
        if error is not None:
            self.fail(error)
        self._open.end()

    def note(self, **fields: object) -> None:
        """Add fields; what is not on the allow-list or has not the shape of its class is dropped and counted."""
        kept, dropped = keep_allowed(fields)
        self._open.tell(kept)
        if dropped:
            self._recorder.count_dropped(dropped)

    def fail(self, error: BaseException | None = None) -> None:
        """Mark it as failed, by an exception's class and code and never by its message."""
        self._open.fail()
        if error is not None:
            self.note(error_type=type(error).__qualname__)
            code = getattr(error, "code", None)
            if isinstance(code, str) and EVENT_NAME.match(code):
                self.note(error_code=code)


NO_SPAN: Final = NoSpan()


def span(name: SpanName, *, parent: str | None = None, **fields: object) -> NoSpan:
    """Return a span to enter. It hangs on `parent`, a traceparent of our own, else on the current span."""
    if _recorder is None:
        return NO_SPAN
    begun = LiveSpan(_recorder, name, read_traceparent(parent) or _current.get(), 0.0)
    begun.note(**fields)
    return begun


def record_past(name: SpanName, seconds: float, **fields: object) -> None:
    """Record a span that ends now and took `seconds`, with no parent: for paths too hot to hold one open."""
    if _recorder is not None:
        begun = LiveSpan(_recorder, name, None, seconds)
        begun.note(**fields)
        begun.__exit__(None, None, None)


def current_link() -> TraceLink | None:
    """Return where the current span stands."""
    return _current.get()


def current_traceparent() -> str | None:
    """Return what a call or a job carries along, None where nothing is traced."""
    link = _current.get()
    return None if link is None else link.traceparent


def use_recorder(recorder: Recorder | None) -> None:
    """Record with this one from now on, or no longer."""
    global _recorder  # noqa: PLW0603 - as with logging, a process has one
    _recorder = recorder


@contextmanager
def open_tracing(settings: Settings, process: str, metrics: Metrics) -> Generator[None]:
    """Record while the block runs, where the settings name an endpoint; only then is the library imported."""
    if settings.otlp_endpoint is None:
        yield
        return
    from pitboss.platform.otlp import OtlpRecorder  # noqa: PLC0415 - a start without tracing should not pay for it

    recorder = OtlpRecorder(settings, process, metrics)
    use_recorder(recorder)
    metrics.watch_wallet_calls(sample_wallet_calls(settings.trace_wallet_one_in))
    try:
        yield
    finally:
        use_recorder(None)
        recorder.close()


def sample_wallet_calls(one_in: int) -> Callable[[str, str, str, float], None]:
    """Return what is told of each wallet call after the fact, and records every so many of them."""
    left = one_in

    def watch(tenant: str, plugin: str, outcome: str, seconds: float) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            left = one_in
            record_past(SpanName.WALLET_CALL, seconds, tenant=tenant, plugin=plugin, outcome=outcome)

    return watch
