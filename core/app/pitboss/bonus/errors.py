"""Errors of the bonus room that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class BonusForbidden(PitbossError):
    """The licence or the tenant allows no bonus."""

    code = "bonus.forbidden"
    kind = ErrorKind.CONFLICT


class WageringAboveCeiling(PitbossError):
    """The licence or the tenant allows no wagering requirement as high as this."""

    code = "bonus.wagering_above_ceiling"
    kind = ErrorKind.INVALID


class AwardTermsInvalid(PitbossError):
    """Amount, requirement or expiry make no sense; `detail` says which."""

    code = "bonus.terms_invalid"
    kind = ErrorKind.INVALID


class AwardReferenceMisused(PitbossError):
    """The reference was used before for another award."""

    code = "bonus.reference_misused"
    kind = ErrorKind.CONFLICT


class AwardNotFound(PitbossError):
    code = "bonus.award_not_found"
    kind = ErrorKind.NOT_FOUND


class AwardOver(PitbossError):
    """The award has ended, by its time, by its requirement or by an operator."""

    code = "bonus.award_over"
    kind = ErrorKind.CONFLICT
