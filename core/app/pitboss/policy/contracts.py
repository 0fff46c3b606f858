"""Values of the policy that cross the room's border: what a tenant may tighten, and what applies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from pitboss_sdk.jurisdiction import (
    CountsFrom,
    ExclusionTerm,
    IdentityMoment,
    LimitKind,
    LimitPeriod,
    RecordClass,
    RegisterMoment,
)

Count = Annotated[int, Meta(ge=0, le=100_000)]
Positive = Annotated[int, Meta(ge=1, le=100_000)]
Years = Annotated[int, Meta(ge=0, le=150)]
Minor = Annotated[int, Meta(ge=0, le=2**63 - 1)]

MINIMUM_AGE_YEARS: Final = 18
"""The platform's own, which holds wherever no law or tenant says more, and where what they say is not known."""


class SpendOrder(StrEnum):
    """Which money a stake takes first."""

    REAL_FIRST = "real_first"
    BONUS_FIRST = "bonus_first"


class PlayLaw(msgspec.Struct, frozen=True):
    """What lanes need to know of what applies to players of one licence."""

    time_zone: str
    spend_order: SpendOrder


LicenceKey = tuple[int, str]
"""A tenant's number and one of its packs, or empty where the tenant has none: what law is known by."""


class TenantFigures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Figures that a tenant tightens, by the names that packs use; what is absent is left to the licence."""

    minimum_age_years: Years | None = None
    limit_increase_wait_hours: Count | None = None
    mandatory_limits: frozenset[LimitKind] | None = None
    limit_ceilings_minor: Mapping[LimitKind, Mapping[LimitPeriod, Mapping[str, Minor]]] = {}
    reality_check_minutes: Positive | None = None
    exclusion_terms: frozenset[ExclusionTerm] | None = None
    exclusion_minimum_months: Count | None = None
    exclusion_early_end_allowed: bool | None = None
    exclusion_lift_wait_hours: Count | None = None
    bonus_allowed: bool | None = None
    bonus_wagering_maximum_times: Count | None = None
    real_money_spent_first: bool | None = None
    identity_before: IdentityMoment | None = None
    due_diligence_thresholds_minor: Mapping[str, Minor] = {}
    due_diligence_days: Count | None = None
    register_checks: frozenset[RegisterMoment] | None = None
    register_recheck_days: Positive | None = None
    register_block_hours: Count | None = None
    subject_answer_days: Positive | None = None
    retention_years: Mapping[RecordClass, Years | Literal["forever"]] = {}


class TenantPolicy(TenantFigures, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`policy.toml`: figures for all of a tenant's players, and below `licences` for those of one licence."""

    licences: Mapping[str, TenantFigures] = {}


class AppliedPolicy(msgspec.Struct, frozen=True):
    """What a cell holds of a tenant: its policy, and the packs with the versions that were applied."""

    policy: TenantPolicy
    packs: Mapping[str, str]


class Retention(msgspec.Struct, frozen=True):
    """How long records are kept at least; `years` is None for ever."""

    years: int | None
    counts_from: CountsFrom


class Speaker(StrEnum):
    """Who says something about a figure."""

    PLATFORM = "platform"
    PACK = "pack"
    TENANT = "tenant"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one of them says. `mark` is a pack's, or `platform default`, or `tenant`; dates are a pack's."""

    speaker: Speaker
    who: str
    """`platform`, the pack's slug, or the tenant's file."""
    value: Any
    source: str
    mark: str
    since: date | None = None
    until: date | None = None
    checked_on: date | None = None
    note: str = ""


class ResolvedFigure(msgspec.Struct, frozen=True):
    """A figure as it applies: the strictest of `claims`. `replaced` is what a verified law stands in place of."""

    name: str
    value: Any
    claims: tuple[Claim, ...]
    replaced: tuple[Claim, ...] = ()

    @property
    def deciding(self) -> tuple[Claim, ...]:
        """The claims whose value applies; where none has it alone, all that were put together."""
        equal = tuple(claim for claim in self.claims if claim.value == self.value)
        return equal or self.claims

    @property
    def beaten(self) -> tuple[Claim, ...]:
        """The claims that do not decide, and those that were replaced."""
        deciding = self.deciding
        return (*(claim for claim in self.claims if claim not in deciding), *self.replaced)


class EffectivePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What applies to a tenant's players of one licence on one day of the licence's time zone.

    Figures have the names and units that packs use. `licence` is empty for a tenant without packs.
    """

    licence: str
    on: date
    time_zone: str
    minimum_age_years: int
    limit_increase_wait_hours: int
    mandatory_limits: frozenset[LimitKind]
    limit_ceilings_minor: Mapping[tuple[LimitKind, LimitPeriod, str], int]
    reality_check_minutes: int
    exclusion_terms: frozenset[ExclusionTerm]
    exclusion_minimum_months: int
    exclusion_early_end_allowed: bool
    exclusion_lift_wait_hours: int
    bonus_allowed: bool
    bonus_wagering_maximum_times: int | None
    real_money_spent_first: bool
    identity_before: IdentityMoment
    due_diligence_thresholds_minor: Mapping[str, int]
    due_diligence_days: int
    register_checks: frozenset[RegisterMoment]
    register_recheck_days: int | None
    register_block_hours: int
    subject_answer_days: int
    retention: Mapping[RecordClass, Retention]
    figures: Mapping[str, ResolvedFigure]
    """Every figure with who said what, by name."""

    @property
    def limit_increase_wait(self) -> timedelta:
        """How long a raised or removed limit waits; a decrease acts at once, always."""
        return timedelta(hours=self.limit_increase_wait_hours)

    @property
    def exclusion_lift_wait(self) -> timedelta:
        """How long the request to end an exclusion waits."""
        return timedelta(hours=self.exclusion_lift_wait_hours)

    @property
    def play_law(self) -> PlayLaw:
        """What lanes need to know of it."""
        return PlayLaw(self.time_zone, self.spend_order)

    @property
    def spend_order(self) -> SpendOrder:
        """Which money a stake takes first, where a wallet holds bonus money."""
        return SpendOrder.REAL_FIRST if self.real_money_spent_first else SpendOrder.BONUS_FIRST

    def find_limit_ceiling_minor(self, kind: LimitKind, period: LimitPeriod, currency: str) -> int | None:
        """Return the highest limit that a player may set, or None."""
        return self.limit_ceilings_minor.get((kind, period, currency))

    def get_due_diligence_threshold_minor(self, currency: str) -> int:
        """Return the amount from which due diligence is due; 0, from the first deposit on, where nobody names one."""
        return self.due_diligence_thresholds_minor.get(currency, 0)


class Window(msgspec.Struct, frozen=True):
    """A day, week or month of a time zone: first day, the day after its last, and the moments (UTC) between them."""

    first_day: date
    next_day: date
    starts_at: datetime
    ends_at: datetime
