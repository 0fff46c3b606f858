"""The five outcomes of a call that leaves the process: an unlisted one is never success and never failure."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Done(msgspec.Struct, Generic[T], frozen=True, tag="done"):
    """The vendor confirms."""

    value: T


class Pending(msgspec.Struct, frozen=True, tag="pending"):
    """The vendor accepted, or gave a status that nobody listed: poll it or wait for its webhook."""

    vendor_reference: str
    reason: str = ""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The vendor was reached and said no."""

    code: str
    reason: str = ""


class Unsent(msgspec.Struct, frozen=True, tag="unsent"):
    """The call was provably never submitted: it may be tried again or sent elsewhere."""

    reason: str = ""


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """It may or may not have happened: never send it elsewhere."""

    reason: str = ""


Outcome = Done[T] | Pending | Refused | Unsent | Unknown
