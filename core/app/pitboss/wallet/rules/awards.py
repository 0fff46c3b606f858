"""Bonus money of a batch: which award a movement belongs to, and what becomes of what an award has left."""

from __future__ import annotations

import msgspec

from pitboss.bonus.contracts import Fate, Terms
from pitboss.bonus.rules import decide_fate, is_over
from pitboss.ledger.contracts import KnownKey, Op, OpenAward, Outcome, PostingBatch, WalletState
from pitboss.ledger.rules import compute_content_hash, compute_key
from pitboss.wallet.rules.draft import BatchFacts, Draft
from pitboss.wallet.rules.movements import Deltas, compute_credit, split_over_awards


def move_awards(
    facts: BatchFacts,
    posting: PostingBatch,
    op: Op,
    bonus: int,
    wallet: WalletState,
    draft: Draft,
    original: KnownKey | None,
) -> None:
    """Note which awards the booking that was added last takes `bonus` from, or gives it to."""
    pair = (wallet.tenant_id, wallet.wallet_id)
    if op is Op.AWARD:
        wallet.has_awards = True
        draft.new_awards.append((*pair, wallet.version, bonus))
        row = posting.bookings[-1]
        draft.awards[(*pair, wallet.version)] = OpenAward(wallet.version, bonus, 0, row[5], row[4], row[15])
        return
    mine = _list_awards(facts, wallet, draft)
    parts: list[tuple[int, int]]
    if bonus < 0:
        remaining = [(number, award.remaining) for number, award in sorted(mine.items())]
        parts = [(number, -part) for number, part in split_over_awards(remaining, -bonus)]
    elif original is not None:
        entries = facts.award_entries.get((*pair, original.version), [])
        entries = entries or [entry[3:] for entry in draft.entries if entry[2] == original.version]
        parts = [(number, -part) for number, part in entries]
    else:
        with_money = [number for number, award in sorted(mine.items()) if award.remaining]
        going_on = [number for number, award in mine.items() if not _is_over(facts, wallet, award)]
        parts = [(with_money[0] if with_money else max(going_on or mine), bonus)]
    for number, part in parts:
        award = msgspec.structs.replace(mine[number])
        award.remaining += part
        if op in (Op.BET, Op.BET_ROLLBACK):
            award.wagered -= part
        draft.awards[(*pair, number)] = award
        draft.entries.append((*pair, wallet.version, number, part))


def settle_awards(facts: BatchFacts, posting: PostingBatch, wallet: WalletState, draft: Draft) -> None:
    """Book what becomes of money in awards whose requirement is met, or whose time is over.

    Between two legs every unit of bonus money therefore belongs to an award that goes on; and what is decided is right
    until the first of these ends.
    """
    for number, award in sorted(_list_awards(facts, wallet, draft).items()):
        terms = _find_terms(facts, wallet, award)
        if terms is not None and not is_over(terms, facts.now_us):
            posting.right_before_us = min(terms.ends_at_us, posting.right_before_us or terms.ends_at_us)
        fate = decide_fate(terms, award.wagered, facts.now_us) if award.remaining else Fate.STAYS
        if fate is Fate.BECOMES_REAL:
            deltas = compute_credit(wallet, award.remaining)._replace(bonus=-award.remaining)
            _book_end(posting, Op.AWARD_CONVERT, deltas, number, award, wallet, draft)
        elif fate is Fate.IS_TAKEN_BACK:
            _book_end(posting, Op.AWARD_FORFEIT, Deltas(0, -award.remaining, 0, 0), number, award, wallet, draft)


def _list_awards(facts: BatchFacts, wallet: WalletState, draft: Draft) -> dict[int, OpenAward]:
    pair = (wallet.tenant_id, wallet.wallet_id)
    mine = {name[2]: award for name, award in facts.awards.items() if name[:2] == pair}
    return mine | {name[2]: award for name, award in draft.awards.items()}


def _find_terms(facts: BatchFacts, wallet: WalletState, award: OpenAward) -> Terms | None:
    return facts.terms.get((wallet.tenant_id, wallet.wallet_id, award.reference))


def _is_over(facts: BatchFacts, wallet: WalletState, award: OpenAward) -> bool:
    return is_over(_find_terms(facts, wallet, award), facts.now_us)


def _book_end(
    posting: PostingBatch, op: Op, deltas: Deltas, number: int, award: OpenAward, wallet: WalletState, draft: Draft
) -> None:
    """Book the end of an award under a reference of its own, on the house account that paid for it."""
    wallet.version += 1
    wallet.real += deltas.real
    wallet.bonus += deltas.bonus
    wallet.debt += deltas.debt
    pair = (wallet.tenant_id, wallet.wallet_id)
    reference = f"{award.reference}/{wallet.version}"
    head = (*pair, wallet.version, int(op), award.account_id, award.source_id)
    after = (wallet.real, wallet.bonus, wallet.held, wallet.debt)
    posting.bookings.append((*head, *deltas, *after, "", reference, None))
    draft.awards[(*pair, number)] = msgspec.structs.replace(award, remaining=0)
    draft.entries.append((*pair, wallet.version, number, deltas.bonus))
    draft.known[(wallet.tenant_id, award.source_id, compute_key(reference))] = KnownKey(
        wallet.wallet_id,
        compute_content_hash(op, wallet.wallet_id, -deltas.bonus, "", ""),
        Outcome.ACCEPTED,
        0,
        wallet.version,
        wallet.playable,
        op,
        award.account_id,
        *deltas,
    )
