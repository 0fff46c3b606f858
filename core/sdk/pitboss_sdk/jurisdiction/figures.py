"""Figures of a pack: a value, the days on which it holds, where it was read, and whether anybody verified it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

MANIFEST_VERSION = 1

Text = Annotated[str, Meta(min_length=1, max_length=500)]
Code = Annotated[str, Meta(pattern=r"^[a-z]{2}(_[a-z0-9]{2,12}){1,2}\Z", description="country, area if any, authority")]
Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,39}\Z")]
CurrencyCode = Annotated[str, Meta(pattern=r"^[A-Z]{3,5}\Z")]
Count = Annotated[int, Meta(ge=0, le=100_000)]
Positive = Annotated[int, Meta(ge=1, le=100_000)]
Years = Annotated[int, Meta(ge=0, le=150)]
Minor = Annotated[int, Meta(ge=0, le=2**63 - 1)]

T = TypeVar("T")
E = TypeVar("E", bound="Evidence")


class Mark(StrEnum):
    """How far a statement may be trusted. An unverified one is shown, but never loosens what applies."""

    VERIFIED = "verified"
    """Somebody read it in the law, on the regulator's page or in the regulator's schema."""
    UNVERIFIED = "unverified"
    """It was read in a second-hand text alone."""


class LimitKind(StrEnum):
    """What a player's limit counts."""

    DEPOSIT = "deposit"
    STAKE = "stake"
    LOSS = "loss"
    SESSION_TIME = "session_time"


class LimitPeriod(StrEnum):
    """How long a limit counts before it begins anew, in the time zone of the licence."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class ExclusionTerm(StrEnum):
    """For how long a player may be able to exclude herself."""

    DEFINITE = "definite"
    INDEFINITE = "indefinite"


class IdentityMoment(StrEnum):
    """What a player may not do before her identity is verified; the earlier in this list, the stricter."""

    REGISTRATION = "registration"
    FIRST_DEPOSIT = "first_deposit"
    FIRST_WAGER = "first_wager"
    FIRST_WITHDRAWAL = "first_withdrawal"


class RegisterMoment(StrEnum):
    """When the register of excluded people is asked."""

    REGISTRATION = "registration"
    LOGIN = "login"
    FIRST_LOGIN_OF_DAY = "first_login_of_day"
    MARKETING = "marketing"


class RecordClass(StrEnum):
    """Records that are kept for a time of their own."""

    PLAYER_DATA = "player_data"
    KYC_DOCUMENTS = "kyc_documents"
    AML_RECORDS = "aml_records"
    MONEY_RECORDS = "money_records"
    GAME_RECORDS = "game_records"
    EXCLUSION_RECORDS = "exclusion_records"
    COMMUNICATION = "communication"
    AUDIT_RECORDS = "audit_records"


class CountsFrom(StrEnum):
    """When a retention period begins; the later in this list, the longer records are kept."""

    CREATION = "creation"
    ACCOUNT_CLOSED = "account_closed"


class PackManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose rules a pack holds. `time_zone` is the civil time in which the licence counts days, weeks and months."""

    slug: Code
    kind: Literal["jurisdiction"]
    title: Annotated[str, Meta(min_length=1, max_length=80)]
    manifest_version: int
    sdk: str
    """Versions of `pitboss_sdk` that the pack works with, as a PEP 440 specifier."""
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]
    authority: Text
    currency: CurrencyCode
    time_zone: Text
    owner: Text
    lifecycle: Literal["experimental", "supported", "deprecated", "retired"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a statement holds, and why it is believed.

    `since` (in files: `from`) and `until` are the first and the last day. Where a source gives no first day, `from` is
    the day on which it was read: a pack claims no past that nobody checked.
    """

    since: date = msgspec.field(name="from")
    until: date | None = None
    source: Text
    """Law and article, or document and place in it."""
    see: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Entries of `sources.md`."""
    source_date: date | None = None
    checked_on: date
    mark: Mark
    note: str = ""

    @property
    def key(self) -> str:
        """What tells statements of one name apart; empty where there is one at a time."""
        return ""

    def holds(self, on: date) -> bool:
        """Return whether the statement holds on a day."""
        return self.since <= on and (self.until is None or on <= self.until)


class Figure(Evidence, Generic[T], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value with its evidence."""

    value: T


class Ceiling(Figure[Minor], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The highest limit that a player may set, in minor units of `currency`."""

    kind: LimitKind
    period: LimitPeriod
    currency: CurrencyCode

    @property
    def key(self) -> str:
        """Kind, period and currency."""
        return f"{self.kind}.{self.period}.{self.currency}"


class Threshold(Figure[Minor], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount in minor units of `currency` at which something is due."""

    currency: CurrencyCode

    @property
    def key(self) -> str:
        """The currency."""
        return self.currency


class RetentionFigure(Figure[Years], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many years records of a class are kept at least, and from when the years count."""

    record: RecordClass
    counts_from: CountsFrom

    @property
    def key(self) -> str:
        """The class of records."""
        return self.record.value


class LimitsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`limits.toml`: age, limits, waits, exclusion and bonus."""

    minimum_age_years: tuple[Figure[Years], ...] = ()
    limit_increase_wait_hours: tuple[Figure[Count], ...] = ()
    mandatory_limits: tuple[Figure[frozenset[LimitKind]], ...] = ()
    """Limits without which a player may not play."""
    limit_ceilings_minor: tuple[Ceiling, ...] = ()
    reality_check_minutes: tuple[Figure[Positive], ...] = ()
    exclusion_terms: tuple[Figure[frozenset[ExclusionTerm]], ...] = ()
    """Terms that a player must be offered."""
    exclusion_minimum_months: tuple[Figure[Count], ...] = ()
    exclusion_early_end_allowed: tuple[Figure[bool], ...] = ()
    exclusion_lift_wait_hours: tuple[Figure[Count], ...] = ()
    """Between the request to end an exclusion and its end."""
    bonus_allowed: tuple[Figure[bool], ...] = ()
    bonus_wagering_maximum_times: tuple[Figure[Count], ...] = ()
    real_money_spent_first: tuple[Figure[bool], ...] = ()


class ChecksFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`checks.toml`: identity, due diligence, registers of excluded people."""

    identity_before: tuple[Figure[IdentityMoment], ...] = ()
    due_diligence_thresholds_minor: tuple[Threshold, ...] = ()
    due_diligence_days: tuple[Figure[Count], ...] = ()
    """Within which due diligence ends once the threshold is reached."""
    register_checks: tuple[Figure[frozenset[RegisterMoment]], ...] = ()
    register_recheck_days: tuple[Figure[Positive], ...] = ()
    """How often every player is checked again."""
    register_block_hours: tuple[Figure[Count], ...] = ()
    """Within which a player who was found in the register is blocked."""
    subject_answer_days: tuple[Figure[Positive], ...] = ()
    """Within which a data subject's request is answered."""


class RetentionFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`retention.toml`: how long records are kept."""

    retention_years: tuple[RetentionFigure, ...] = ()


def list_figures(file: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """Yield name and entry of everything a file states; the name is the field's, with the key after a dot."""
    for name in file.__struct_fields__:
        for entry in getattr(file, name):
            yield f"{name}.{entry.key}" if entry.key else name, entry


def find_in_force(entries: Iterable[E], on: date) -> dict[str, E]:
    """Return what holds on a day, by key."""
    return {entry.key: entry for entry in entries if entry.holds(on)}
