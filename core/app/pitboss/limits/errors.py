"""Errors of the limits that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class LimitAboveCeiling(PitbossError):
    """The licence or the tenant allows no limit as high as this."""

    code = "limits.above_ceiling"
    kind = ErrorKind.INVALID


class LimitMandatory(PitbossError):
    """The licence or the tenant demands a limit of this kind: it can be changed and not be taken away or left out."""

    code = "limits.mandatory"
    kind = ErrorKind.INVALID


class PlayTimeUsedUp(PitbossError):
    """The player has had games open for as long as the own limit of play time lets."""

    code = "limits.play_time_used_up"
    kind = ErrorKind.CONFLICT


class ExclusionTooShort(PitbossError):
    """An exclusion lasts at least as long as the licence or the tenant says."""

    code = "limits.exclusion_too_short"
    kind = ErrorKind.INVALID


class ExclusionStands(PitbossError):
    """This exclusion cannot be ended before its time."""

    code = "limits.exclusion_stands"
    kind = ErrorKind.CONFLICT


class ExclusionNotFound(PitbossError):
    code = "limits.exclusion_not_found"
    kind = ErrorKind.NOT_FOUND


class PlayerExcluded(PitbossError):
    """The player is excluded, or takes a time-out, and may not play or deposit now."""

    code = "limits.player_excluded"
    kind = ErrorKind.CONFLICT
