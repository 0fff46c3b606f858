"""Use cases of the ledger: for lanes on their own connection, for everyone else on a session."""

from __future__ import annotations

from pitboss.ledger.rules import compute_content_hash, compute_key
from pitboss.ledger.store.accounts import (
    count_wallets,
    ensure_source,
    find_wallet,
    fold_house,
    get_house_account,
    get_wallet,
    list_account_numbers,
    list_bookings,
    list_expired_holds,
    list_house_accounts,
    list_round_bookings,
    list_sources,
    list_wallets,
    open_house_accounts,
    open_wallet,
    seed_usage,
    set_wallet_status,
)
from pitboss.ledger.store.posting import (
    lock_wallets,
    next_batch_block,
    post,
    read_award_entries,
    read_awards,
    read_holds,
    read_keys,
    read_usage,
    read_wallet_numbers,
)
from pitboss.ledger.store.proof import verify_tenant

__all__ = [
    "compute_content_hash",
    "compute_key",
    "count_wallets",
    "ensure_source",
    "find_wallet",
    "fold_house",
    "get_house_account",
    "get_wallet",
    "list_account_numbers",
    "list_bookings",
    "list_expired_holds",
    "list_house_accounts",
    "list_round_bookings",
    "list_sources",
    "list_wallets",
    "lock_wallets",
    "next_batch_block",
    "open_house_accounts",
    "open_wallet",
    "post",
    "read_award_entries",
    "read_awards",
    "read_holds",
    "read_keys",
    "read_usage",
    "read_wallet_numbers",
    "seed_usage",
    "set_wallet_status",
    "verify_tenant",
]
