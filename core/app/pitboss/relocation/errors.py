"""Errors of moves that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class MoveRefused(PitbossError):
    """The tenant may not move so, or not now; nothing was changed by asking."""

    code = "relocation.move_refused"
    kind = ErrorKind.REFUSED


class KitInvalid(PitbossError):
    """A kit is not whole, or not what was packed."""

    code = "relocation.kit_invalid"
    kind = ErrorKind.INVALID


class CellsDiffer(PitbossError):
    """What arrived is not what left; the move stops before anybody is sent to the new cell."""

    code = "relocation.cells_differ"
    kind = ErrorKind.CONFLICT


class StillBusy(PitbossError):
    """Transactions from before the freeze have not ended; the same command may succeed later."""

    code = "relocation.still_busy"
    kind = ErrorKind.UNAVAILABLE
