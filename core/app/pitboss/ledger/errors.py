"""Errors of the ledger that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class WalletNotFound(PitbossError):
    code = "ledger.wallet_not_found"
    kind = ErrorKind.NOT_FOUND


class HouseAccountNotFound(PitbossError):
    """The tenant's chart of accounts does not cover this currency or provider."""

    code = "ledger.house_account_not_found"
    kind = ErrorKind.NOT_FOUND
