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


class InvalidRole(PitbossError):
    """A role or scope says something that has no meaning; the message tells what."""

    code = "permissions.invalid_role"
    kind = ErrorKind.INVALID


class InvalidAssignment(PitbossError):
    """A role was given for longer than its source allows, or for no time at all."""

    code = "permissions.invalid_assignment"
    kind = ErrorKind.INVALID


class InexpressibleScope(PitbossError):
    """A column's type cannot hold what a scope compares with it, so rows and decisions could differ."""

    code = "permissions.inexpressible_scope"
    kind = ErrorKind.BUG
