"""Errors of player accounts that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class RegistrationInvalid(PitbossError):
    """The detail names each field with its reason, never a value."""

    code = "accounts.registration_invalid"
    kind = ErrorKind.INVALID


class PasswordInvalid(PitbossError):
    code = "accounts.password_invalid"
    kind = ErrorKind.INVALID


class EmailTaken(PitbossError):
    """The brand has an account with this address."""

    code = "accounts.email_taken"
    kind = ErrorKind.CONFLICT


class CredentialsRefused(PitbossError):
    """No such account or another password: one answer for both."""

    code = "accounts.credentials_refused"
    kind = ErrorKind.UNAUTHENTICATED


class AccountNotActive(PitbossError):
    """The password was right, but the account is suspended or closed."""

    code = "accounts.account_not_active"
    kind = ErrorKind.REFUSED


class TooManyAttempts(PitbossError):
    code = "accounts.too_many_attempts"
    kind = ErrorKind.LIMITED
    retry_after_seconds = 30


class SessionInvalid(PitbossError):
    """There is no session with this token, or it is over."""

    code = "accounts.session_invalid"
    kind = ErrorKind.UNAUTHENTICATED


class PlayerNotFound(PitbossError):
    code = "accounts.player_not_found"
    kind = ErrorKind.NOT_FOUND


class PlayerErased(PitbossError):
    """The account is there, who it belonged to is not any more."""

    code = "accounts.player_erased"
    kind = ErrorKind.NOT_FOUND


class PlayerNotClosed(PitbossError):
    """Only the person behind a closed account can be erased."""

    code = "accounts.player_not_closed"
    kind = ErrorKind.CONFLICT


class PlayerClosed(PitbossError):
    """A closed account stays closed."""

    code = "accounts.player_closed"
    kind = ErrorKind.CONFLICT


class StatusRefused(PitbossError):
    """The wanted status cannot be set in this way."""

    code = "accounts.status_refused"
    kind = ErrorKind.INVALID


class MoneyLeft(PitbossError):
    """An account that still has money, held money or debt cannot be closed."""

    code = "accounts.money_left"
    kind = ErrorKind.REFUSED


class ResetTokenInvalid(PitbossError):
    """The token is unknown, used or too old: one answer for all."""

    code = "accounts.reset_token_invalid"
    kind = ErrorKind.INVALID
