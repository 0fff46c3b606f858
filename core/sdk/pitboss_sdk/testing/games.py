"""The rules of kind `games`, by name."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from pitboss_sdk.manifest import Manifest
from pitboss_sdk.testing import (
    answer_rules,
    call_rules,
    driver_rules,
    listing_rules,
    scheme_rules,
    static_rules,
    webhook_rules,
)
from pitboss_sdk.testing.bench import Bench
from pitboss_sdk.testing.double import Subject, read_sources

STATIC: Final[Mapping[str, Callable[[Subject], Iterator[str]]]] = {
    "static.manifest": static_rules.find_manifest_faults,
    "static.contract": static_rules.find_class_faults,
    "static.code": static_rules.find_forbidden_code,
    "static.secrets": static_rules.find_secrets_in_the_clear,
}
"""Rules that need the class, the manifest and the sources alone."""

BEHAVIOUR: Final[Mapping[str, Callable[[Bench], Iterator[str]]]] = {
    "configuration.secrets": static_rules.find_secrets_missing,
    "configuration.migration": static_rules.find_migrations_missing,
    "signature.genuine": call_rules.find_genuine_refused,
    "signature.absent": call_rules.find_unsigned,
    "signature.truncated": call_rules.find_truncated,
    "signature.altered": call_rules.find_altered,
    "signature.stranger": call_rules.find_stranger_accepted,
    "signature.body": call_rules.find_changed_body_accepted,
    "signature.scheme": scheme_rules.find_other_schemes_accepted,
    "signature.stale": scheme_rules.find_stale_accepted,
    "operations.declared": call_rules.find_silent_operations,
    "operations.undeclared": call_rules.find_undeclared_operations,
    "calls.meaning": call_rules.find_misread,
    "calls.malformed": call_rules.find_garbage_read,
    "calls.hostile": call_rules.find_hostile_let_through,
    "calls.oversize": call_rules.find_oversize_read,
    "amounts.exact": call_rules.find_inexact,
    "amounts.beyond": call_rules.find_rounded,
    "references.beyond": call_rules.find_references_beyond,
    "references.kept": call_rules.find_references_changed,
    "duplicates.repeated": call_rules.find_unlike_repeats,
    "duplicates.within": call_rules.find_twice_in_one,
    "purity.repeatable": answer_rules.find_impure,
    "purity.state": answer_rules.find_changed_state,
    "purity.effects": answer_rules.find_effects,
    "capability.bet_and_win": answer_rules.judge_capability("bet_and_win"),
    "capability.round_finish": answer_rules.judge_capability("round_finish"),
    "capability.free_spins": answer_rules.judge_capability("free_spins"),
    "capability.jackpots": answer_rules.judge_capability("jackpots"),
    "capability.rollback_unknown": answer_rules.find_wrong_tombstones,
    "capability.game_list": driver_rules.find_catalogue_undeclared,
    "capability.launch_demo": driver_rules.find_demo_declared,
    "capability.transaction_list": listing_rules.find_list_undeclared,
    "answers.accepted": answer_rules.find_unreadable_answers,
    "answers.balance": answer_rules.find_wrong_balances,
    "answers.replay": answer_rules.find_unlike_replays,
    "refusals.understood": answer_rules.find_refusals_unread,
    "refusals.distinct": answer_rules.find_refusals_alike,
    "refusals.retried": answer_rules.find_wrong_retries,
    "refusals.silent": answer_rules.find_told_secrets,
    "refusals.balance": answer_rules.find_invented_balances,
    "driver.launch": driver_rules.find_launches_failed,
    "driver.refused": driver_rules.find_refusals_lost,
    "driver.departure": driver_rules.find_departures_lost,
    "driver.unlisted": driver_rules.find_guesses,
    "driver.egress": driver_rules.find_egress_undeclared,
    "driver.pii": driver_rules.find_personal_data_undeclared,
    "driver.outside": driver_rules.find_outside_calls,
    "driver.secrets": driver_rules.find_secrets_told,
    "transactions.meaning": listing_rules.find_books_misread,
    "webhooks.genuine": webhook_rules.find_genuine_refused,
    "webhooks.forged": webhook_rules.find_forged_accepted,
    "webhooks.merchant": webhook_rules.find_others_taken,
    "webhooks.replayed": webhook_rules.find_repetitions_unseen,
    "webhooks.stale": webhook_rules.find_times_untold,
    "webhooks.order": webhook_rules.find_order_lost,
    "webhooks.truncated": webhook_rules.find_truncated_read,
    "webhooks.hostile": webhook_rules.find_hostile_raising,
    "webhooks.huge": webhook_rules.find_huge_raising,
    "webhooks.events": webhook_rules.find_events_undeclared,
    "webhooks.headers": webhook_rules.find_headers_lost,
    "webhooks.purity": webhook_rules.find_impure,
}
"""Rules that need a configured plugin and its vendor."""

MAX_FAULTS: Final = 20
"""A rule tells no more than so many faults; the first are enough to act on."""


class Rule(msgspec.Struct, frozen=True):
    """One rule of the kit."""

    name: str
    sentence: str

    def find_faults(self, subject: Subject) -> list[str]:
        """Return where the subject breaks the rule; nothing when it keeps it."""
        faults: list[str] = []
        try:
            found = STATIC[self.name](subject) if self.name in STATIC else BEHAVIOUR[self.name](Bench(subject))
            for fault in found:
                faults.append(fault)
                if len(faults) == MAX_FAULTS:
                    break
        except Exception as error:  # noqa: BLE001 whatever plugin or double raise breaks the rule, and is told
            faults.append(f"{type(error).__name__}: {error}, raised {_place(error)}")
        return faults


RULES: Final = tuple(
    Rule(name, (find.__doc__ or "").partition("\n")[0]) for name, find in {**STATIC, **BEHAVIOUR}.items()
)
"""Every rule, in the order in which to read their faults."""


def find_static_faults(plugin: type[Any], manifest: Manifest) -> list[str]:
    """Return where a plugin breaks a rule that needs neither configuration nor vendor."""
    subject = Subject(plugin, {}, {}, None, manifest, read_sources(plugin))  # pyright: ignore[reportArgumentType]
    return [f"{rule.name}: {fault}" for rule in RULES if rule.name in STATIC for fault in rule.find_faults(subject)]


def _place(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/testing/" not in frame.filename]
    return (
        f"in {frames[-1].name} ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})"
        if frames
        else "by the kit"
    )
