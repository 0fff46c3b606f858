"""Ports for the servers of tests: below those that the system hands to outgoing connections, and of one run alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import cycle

from pitboss.platform.processes import is_port_free

SHARES = range(18_000, 32_000, 500)
"""First port of each run's share: whoever holds that one has the share."""


def free_port() -> int:
    """Return a loopback port that nobody uses and that no other run of tests takes meanwhile."""
    return free_block(1)


def free_block(size: int) -> int:
    """Return the first of `size` such ports in a row."""
    for _ in range(SHARES.step):
        ports = [next(_PORTS) for _ in range(size)]
        if ports[-1] - ports[0] == size - 1 and all(map(is_port_free, ports)):
            return ports[0]
    raise AssertionError(f"no {size} free ports in a row")


def _walk() -> Iterator[int]:
    """Go round a share, so that a port rests before it comes again; the share is let go with the process."""
    with _take_share() as share:
        first = share.getsockname()[1]
        yield from cycle(range(first + 1, first + SHARES.step))


def _take_share() -> socket.socket:
    for first in SHARES:
        # Without SO_REUSEADDR: what is bound is refused to everybody else.
        share = socket.socket()
        try:
            share.bind(("127.0.0.1", first))
        except OSError:
            share.close()
            continue
        return share
    raise AssertionError("every share of ports is taken by another run of tests")


_PORTS = _walk()
