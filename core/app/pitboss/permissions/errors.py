"""Errors of the permission check that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class Forbidden(PitbossError):
    code = "permissions.forbidden"
    kind = ErrorKind.FORBIDDEN


class UnknownPermission(PitbossError):
    """An edge asked for a permission that is not registered."""

    code = "permissions.unknown_permission"
    kind = ErrorKind.BUG
