"""Errors of the policy that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class LicenceUnknown(PitbossError):
    """The tenant has no such licence, or has several and none was named: nothing may be decided without it."""

    code = "policy.licence_unknown"
    kind = ErrorKind.UNAVAILABLE


class PolicyMissing(PitbossError):
    """The tenant's policy was never applied to this cell: nothing may be decided without it."""

    code = "policy.missing"
    kind = ErrorKind.UNAVAILABLE


class PackNotLoaded(PitbossError):
    """The tenant's licence names a pack that this process did not load."""

    code = "policy.pack_not_loaded"
    kind = ErrorKind.UNAVAILABLE
