"""Errors of the calls between control and a cell."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class CallRefused(PitbossError):
    """The cell does not believe a call: not signed by a key that it knows, for another cell, too old, or used before."""

    code = "hosting.call_refused"
    kind = ErrorKind.UNAUTHENTICATED


class OrderRefused(PitbossError):
    """The cell believes the call but may not do what it asks."""

    code = "hosting.order_refused"
    kind = ErrorKind.REFUSED


class CellUnreachable(PitbossError):
    """The cell did not answer, so nobody knows whether it did what was asked; every call may be repeated."""

    code = "hosting.cell_unreachable"
    kind = ErrorKind.UNAVAILABLE


class CellAnswered(PitbossError):
    """The cell answered a call with an error; the detail is the cell's."""

    code = "hosting.cell_answered"
    kind = ErrorKind.REFUSED

    def __init__(self, detail: str = "", told_code: str = "", *, again: bool = False) -> None:
        super().__init__(detail)
        self.told_code = told_code
        """The code of the cell's own error."""
        self.again = again
        """Whether the cell did nothing and asks for the same in a new call."""
