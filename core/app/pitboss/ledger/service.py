"""Use cases of the ledger: for lanes on their own connection, for everyone else on a session."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import AwardMoney, Effect
from pitboss.ledger.rules import compute_content_hash, compute_key
from pitboss.ledger.store import awards, quality
from pitboss.ledger.store.accounts import (
    change_terms,
    claim_wallets,
    close_wallets,
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
    prune_usage,
    seed_usage,
    set_wallet_status,
)
from pitboss.ledger.store.posting import (
    NEXT_BLOCK,
    ask_award_entries,
    ask_awards,
    ask_holds,
    ask_keys,
    ask_times,
    ask_usage,
    ask_wallets,
    plan_new,
    plan_post,
    plan_standing,
    read_wallet_numbers,
    tell_award_entries,
    tell_awards,
    tell_holds,
    tell_keys,
    tell_times,
    tell_usage,
    tell_wallets,
)
from pitboss.ledger.store.proof import find_proof, keep_proof, verify_awards, verify_tenant, verify_wallet_marks
from pitboss.ledger.store.quality import (
    find_booking_faults,
    find_other_bookings,
    find_unended_holds,
    sum_rounds,
)
from pitboss.ledger.store.sealing import (
    fetch_house_names,
    fetch_marks,
    fetch_sealed_sums,
    fetch_source_names,
    fetch_spans,
    list_unsealed,
    mark_sealed,
)

__all__ = [
    "NEXT_BLOCK",
    "ask_award_entries",
    "ask_awards",
    "ask_holds",
    "ask_keys",
    "ask_times",
    "ask_usage",
    "ask_wallets",
    "change_terms",
    "claim_wallets",
    "close_wallets",
    "compute_content_hash",
    "compute_key",
    "count_wallets",
    "ensure_source",
    "fetch_house_names",
    "fetch_marks",
    "fetch_sealed_sums",
    "fetch_source_names",
    "fetch_spans",
    "find_award_money",
    "find_booking_faults",
    "find_effects",
    "find_other_bookings",
    "find_proof",
    "find_unended_holds",
    "find_wallet",
    "fold_house",
    "get_house_account",
    "get_wallet",
    "keep_proof",
    "list_account_numbers",
    "list_bookings",
    "list_expired_holds",
    "list_house_accounts",
    "list_round_bookings",
    "list_sources",
    "list_unsealed",
    "list_wallets",
    "mark_sealed",
    "open_house_accounts",
    "open_wallet",
    "plan_new",
    "plan_post",
    "plan_standing",
    "prune_usage",
    "read_wallet_numbers",
    "seed_usage",
    "set_wallet_status",
    "sum_rounds",
    "tell_award_entries",
    "tell_awards",
    "tell_holds",
    "tell_keys",
    "tell_times",
    "tell_usage",
    "tell_wallets",
    "verify_awards",
    "verify_tenant",
    "verify_wallet_marks",
]


async def find_award_money(
    session: AsyncSession, scope: TenantScope, source: str, references: Sequence[str]
) -> dict[str, AwardMoney]:
    """Return what is left of awards by the reference of their booking; those not booked are not in the answer."""
    by_key = {UUID(bytes=compute_key(reference)): reference for reference in references}
    found = await awards.find_award_money(session, scope, source, list(by_key))
    return {by_key[key]: money for key, money in found.items()}


async def find_effects(
    session: AsyncSession, scope: TenantScope, source: str, references: Collection[str]
) -> dict[str, Effect]:
    """Return what became of external ids of a source; those that nobody ever sent are not in the answer."""
    keys = {reference: UUID(bytes=compute_key(reference)) for reference in references}
    return await quality.find_effects(session, scope, source, keys)
