"""A TCP proxy between a process and its server, whose connections can be slowed, frozen and cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

_CHUNK = 65_536


class _Link:
    """One connection: both ends, and whether anything passes."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.ends = (near, far)
        self.open = asyncio.Event()
        self.open.set()

    def cut(self) -> None:
        for end in self.ends:
            end.transport.abort()
        self.open.set()


class Proxy:
    """Listens on a loopback port of its own and passes everything on, in a thread of its own."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._links: set[_Link] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._latency_seconds = 0.0
        self._refuses = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}")

    def start(self) -> None:
        self._thread.start()
        listening = asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)

    def stop(self) -> None:
        self._server.close()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def slow_down(self, latency_ms: int) -> None:
        """Let every piece wait for so long, in both directions; 0 is as fast as it goes."""
        self._do(lambda: setattr(self, "_latency_seconds", latency_ms / 1000))

    def cut(self, *, refuse: bool = False) -> None:
        """Break every connection; with `refuse` no new one is taken until `heal`."""

        def cut() -> None:
            self._refuses = refuse
            for link in list(self._links):
                link.cut()

        self._do(cut)

    def freeze(self) -> None:
        """Let nothing pass on the connections that there are, for ever; new ones work: half-open, as after a lost route."""
        self._do(lambda: [link.open.clear() for link in self._links])

    def heal(self) -> None:
        """Pass everything on again, also what was held."""

        def heal() -> None:
            self._refuses, self._latency_seconds = False, 0.0
            for link in self._links:
                link.open.set()

        self._do(heal)

    def _do(self, change: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)

    async def _end(self) -> None:
        for link in list(self._links):
            link.cut()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await asyncio.sleep(0.1)  # what was aborted closes in a turn of the loop's to come

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refuses:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        pumps = [
            self._loop.create_task(self._pump(link, reader, far_writer)),
            self._loop.create_task(self._pump(link, far_reader, writer)),
        ]
        self._pumps.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        self._pumps.difference_update(pumps)
        self._links.discard(link)
        link.cut()

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                if self._latency_seconds:
                    await asyncio.sleep(self._latency_seconds)
                await link.open.wait()
                sink.write(data)
                await sink.drain()
