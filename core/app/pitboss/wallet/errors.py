"""Errors of the wallet that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError
from pitboss_sdk.games import Refusal


class LanesBusy(PitbossError):
    """The queue is too long, or the database away, for an answer in time; nothing was done."""

    code = "wallet.busy"
    kind = ErrorKind.UNAVAILABLE


class MovementRefused(PitbossError):
    """A movement asked for by an operator or a room was refused; `detail` says why."""

    code = "wallet.movement_refused"
    kind = ErrorKind.REFUSED

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value}: {detail}" if detail else refusal.value)
        self.refusal = refusal
