"""The registry of permissions, and the values of which a decision is made: roles, scopes, assignments."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import msgspec

from pitboss.kernel.scope import Actor, ActorKind


class Action(StrEnum):
    """What a permission lets somebody do."""

    VIEW = "view"
    EDIT = "edit"
    APPROVE = "approve"
    DELETE = "delete"
    EXPORT = "export"
    REVEAL = "reveal"
    CONFIGURE = "configure"


class Risk(StrEnum):
    """How much harm a misuse does."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ActorRole(StrEnum):
    """The sealed roles of those who are no staff with accounts of their own: what an actor is says which it has."""

    VISITOR = "visitor"
    PLAYER = "player"
    OPERATOR = "operator"
    PROVIDER = "provider"
    SERVICE = "service"
    DEPLOYMENT = "deployment"


class Permission(msgspec.Struct, frozen=True):
    """A key of the form room.noun.action, how much harm it may do, and who holds it."""

    key: str
    risk: Risk
    roles: frozenset[ActorRole]
    summary: str

    @property
    def action(self) -> Action:
        """The last part of the key."""
        return Action(self.key.rpartition(".")[2])


VISITOR: Final = Actor(ActorKind.PLAYER, "visitor")
"""Somebody who has not signed in."""


def find_role(actor: Actor) -> ActorRole:
    """Return the role that `actor` has."""
    return ActorRole.VISITOR if actor == VISITOR else ActorRole(actor.kind.value)


def _permission(key: str, risk: Risk, roles: str, summary: str) -> Permission:
    return Permission(key, risk, frozenset(map(ActorRole, roles.split())), summary)


PERMISSIONS: Final[dict[str, Permission]] = {
    permission.key: permission
    for permission in (
        _permission("accounts.registration.edit", Risk.MEDIUM, "visitor", "Open a player account"),
        _permission("accounts.session.edit", Risk.MEDIUM, "visitor player", "Sign in and out"),
        _permission("accounts.password_reset.edit", Risk.HIGH, "visitor player", "Ask for and use a reset token"),
        _permission("accounts.own_account.view", Risk.LOW, "player", "See one's own account"),
        _permission("accounts.own_account.delete", Risk.HIGH, "player", "Close one's own account"),
        _permission("accounts.player.view", Risk.MEDIUM, "operator", "See a player account without personal data"),
        _permission("accounts.player.edit", Risk.HIGH, "operator", "Suspend, reactivate or close a player account"),
        _permission("accounts.session.delete", Risk.LOW, "service", "Remove sessions and tokens that have ended"),
        _permission("accounts.mail.edit", Risk.LOW, "service", "Send the mails of player accounts"),
        _permission("ledger.own_wallet.view", Risk.LOW, "player", "See one's own balances and history"),
        _permission("ledger.book.view", Risk.MEDIUM, "operator deployment service", "Verify the books of a cell"),
        _permission("ledger.book.edit", Risk.HIGH, "service", "Fold house deltas, expire holds"),
        _permission("wallet.call.edit", Risk.HIGH, "provider", "Book bets, wins and rollbacks"),
        _permission("wallet.credit.edit", Risk.CRITICAL, "operator deployment", "Deposit money by hand"),
        _permission("games.own_session.edit", Risk.LOW, "player", "Open a game"),
        _permission("games.own_round.view", Risk.LOW, "player", "See the rounds that one has played"),
        _permission("games.game.view", Risk.LOW, "visitor player operator", "See the list of games"),
        _permission("games.game.edit", Risk.MEDIUM, "operator deployment", "Take a game in or out of play"),
        _permission("games.catalogue.edit", Risk.LOW, "service deployment", "Take over a provider's list of games"),
        _permission("games.round.view", Risk.MEDIUM, "operator", "See rounds and what belongs to them"),
        _permission("limits.limit.view", Risk.LOW, "operator", "See the limits of a player"),
        _permission("limits.limit.edit", Risk.HIGH, "operator", "Set and remove limits of a player"),
        _permission("limits.usage.delete", Risk.LOW, "service", "Forget what limits counted in windows that are over"),
        _permission("limits.own_limit.view", Risk.LOW, "player", "See one's own limits and exclusions"),
        _permission(
            "limits.own_limit.edit", Risk.MEDIUM, "player", "Change one's own limits, pause and exclude oneself"
        ),
        _permission("limits.exclusion.view", Risk.MEDIUM, "operator", "See the exclusions of a player"),
        _permission("limits.exclusion.edit", Risk.CRITICAL, "operator", "Exclude a player, or ask for the end of it"),
        _permission("bonus.own_award.view", Risk.LOW, "player", "See one's own awards of bonus money"),
        _permission("bonus.award.view", Risk.LOW, "operator", "See the awards of a player"),
        _permission("bonus.award.edit", Risk.CRITICAL, "operator", "Give and cancel awards of bonus money"),
        _permission("bonus.ending.edit", Risk.LOW, "service", "Take back what is left of awards that have ended"),
        _permission("captures.finding.view", Risk.LOW, "deployment service", "Hold the audit log against the tables"),
        _permission("captures.finding.edit", Risk.LOW, "service", "Record where the audit log and the tables differ"),
        _permission("captures.finding.approve", Risk.HIGH, "deployment", "Take such differences as looked into"),
        _permission("retention.schedule.view", Risk.LOW, "operator deployment", "See how long records are kept"),
        _permission("retention.hold.view", Risk.MEDIUM, "operator deployment", "See legal holds"),
        _permission("retention.hold.edit", Risk.HIGH, "deployment", "Place a legal hold"),
        _permission("retention.hold.delete", Risk.CRITICAL, "deployment", "Lift a legal hold"),
        _permission(
            "retention.plan.view", Risk.MEDIUM, "operator deployment", "See plans of destruction, and certificates"
        ),
        _permission("retention.plan.edit", Risk.HIGH, "deployment", "Propose what is to be destroyed"),
        _permission("retention.plan.approve", Risk.CRITICAL, "deployment", "Approve what somebody else proposed"),
        _permission("retention.record.delete", Risk.CRITICAL, "service deployment", "Carry out an approved plan"),
        _permission("keys.epoch.view", Risk.LOW, "deployment", "See the epochs of a tenant's keys"),
        _permission("keys.epoch.edit", Risk.CRITICAL, "service deployment", "Put a tenant's keys under a new epoch"),
        _permission("audit.event.reveal", Risk.CRITICAL, "deployment", "Open the sealed values of audit events"),
        _permission("audit.event.view", Risk.MEDIUM, "operator deployment", "Read the audit log"),
        _permission("audit.destination.view", Risk.LOW, "deployment", "See where the events of a tenant are sent"),
        _permission(
            "audit.destination.configure", Risk.CRITICAL, "deployment", "Send the events of a tenant elsewhere"
        ),
        _permission("tenancy.tenant.view", Risk.LOW, "operator deployment", "Check and plan a tenant's files"),
        _permission("tenancy.tenant.configure", Risk.CRITICAL, "deployment", "Apply a tenant's files"),
        _permission("tenancy.state.edit", Risk.CRITICAL, "deployment", "Suspend, resume and close a tenant"),
        _permission("relocation.move.view", Risk.LOW, "deployment", "See how far a tenant's move is"),
        _permission("relocation.move.configure", Risk.CRITICAL, "deployment", "Move a tenant to another cell"),
        _permission("relocation.kit.export", Risk.CRITICAL, "deployment", "Write all data of a tenant into a kit"),
        _permission("plughost.plugin.view", Risk.LOW, "operator deployment", "List and check plugins"),
        _permission("plughost.plugin.configure", Risk.HIGH, "deployment", "Enable and configure a plugin"),
        _permission("plughost.webhook.view", Risk.LOW, "deployment", "See which webhooks could not be carried out"),
        _permission("plughost.webhook.edit", Risk.MEDIUM, "service deployment", "Carry out the webhooks of vendors"),
        _permission("policy.policy.view", Risk.LOW, "operator deployment", "See what applies to a tenant's players"),
        _permission("policy.pack.view", Risk.LOW, "operator deployment", "List and check jurisdiction packs"),
        _permission("policy.pack.edit", Risk.LOW, "deployment", "Begin a jurisdiction pack from the template"),
        _permission("subjects.case.view", Risk.MEDIUM, "operator deployment", "See requests of data subjects"),
        _permission("subjects.case.edit", Risk.HIGH, "operator deployment", "Open and move requests of data subjects"),
        _permission("subjects.case.approve", Risk.HIGH, "operator deployment", "Complete or refuse such a request"),
        _permission("subjects.export.export", Risk.CRITICAL, "operator deployment", "Have a player's data collected"),
        _permission("subjects.export.reveal", Risk.CRITICAL, "operator deployment", "Fetch what was collected"),
        _permission("subjects.export.edit", Risk.HIGH, "service", "Collect a player's data into an export"),
        _permission("subjects.export.delete", Risk.LOW, "service", "Remove exports that are over, watch clocks"),
        _permission("subjects.restriction.edit", Risk.HIGH, "operator deployment", "Keep a player's data from use"),
        _permission("subjects.identity.edit", Risk.CRITICAL, "operator deployment", "Correct who a player is"),
        _permission("subjects.player.delete", Risk.CRITICAL, "operator deployment", "Erase who a player is"),
        _permission("quality.measure.view", Risk.LOW, "operator deployment", "See how whole and right records are"),
        _permission("quality.measure.edit", Risk.LOW, "service deployment", "Measure hours, open and close findings"),
        _permission("quality.measure.export", Risk.MEDIUM, "operator", "Fetch measures and findings as a file"),
        _permission("quality.book.view", Risk.MEDIUM, "service", "Ask aggregators for their own books"),
        _permission("permissions.role.view", Risk.LOW, "operator deployment", "See roles and what they hold"),
        _permission("platform.database.configure", Risk.CRITICAL, "deployment", "Make and migrate databases"),
        _permission("platform.process.configure", Risk.HIGH, "deployment", "Start, stop and reset processes"),
        _permission("platform.backup.view", Risk.LOW, "deployment", "List and verify backups and exercises"),
        _permission("platform.backup.edit", Risk.HIGH, "deployment", "Make a backup of a cell"),
        _permission("platform.backup.delete", Risk.CRITICAL, "deployment", "Delete old backups of a cell"),
        _permission("platform.backup.reveal", Risk.CRITICAL, "deployment", "Restore a cell onto a scratch server"),
        _permission("platform.outbox.delete", Risk.LOW, "service", "Remove jobs that were done long ago"),
        _permission("platform.status.view", Risk.LOW, "operator deployment", "See the status page"),
    )
}
"""Every permission there is. A room that needs another adds it here: an unknown one is refused."""


class Effect(StrEnum):
    """What a grant does."""

    ALLOW = "allow"
    DENY = "deny"


class Strength(IntEnum):
    """How surely somebody signed in (the ACR of a session)."""

    PASSWORD = 1
    SECOND_FACTOR = 2
    PHISHING_RESISTANT = 3


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Days of the week (1 is Monday) and minutes of the day, by the wall clock of `zone`; `to_minute` is outside."""

    zone: str
    weekdays: frozenset[int] = frozenset(range(1, 8))
    from_minute: int = 0
    to_minute: int = 24 * 60


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far something reaches. None is *everywhere*, an empty set is *nowhere*; all that is said must hold."""

    localities: frozenset[str] | None = None
    brands: frozenset[str] | None = None
    jurisdictions: frozenset[str] | None = None
    segments: frozenset[str] | None = None
    markets: frozenset[str] | None = None
    own_only: bool = False
    max_amount_minor: int | None = None
    currency: str = ""
    fields: frozenset[str] | None = None
    window: Window | None = None
    networks: frozenset[str] | None = None
    min_acr: int = 0
    max_auth_age_seconds: int | None = None


EVERYWHERE: Final = Scope()


class Grant(msgspec.Struct, frozen=True):
    """A permission that is allowed or denied within a scope."""

    permission: str
    effect: Effect = Effect.ALLOW
    scope: Scope = EVERYWHERE


class Family(StrEnum):
    """Which kind of work a role is for; `BUILT_IN` are the roles of actors."""

    BUILT_IN = "built_in"
    PLATFORM = "platform"
    TENANT_ADMIN = "tenant_admin"
    PLAYER_SUPPORT = "player_support"
    KYC = "kyc"
    PAYMENTS = "payments"
    FRAUD_RISK = "fraud_risk"
    RESPONSIBLE_GAMING = "responsible_gaming"
    AML_COMPLIANCE = "aml_compliance"
    BONUS_CRM = "bonus_crm"
    CASINO_CONTENT = "casino_content"
    AFFILIATES = "affiliates"
    FINANCE = "finance"
    BI_REPORTING = "bi_reporting"
    TECHNICAL_OPERATIONS = "technical_operations"
    SECURITY_AUDIT = "security_audit"
    REGULATOR = "regulator"


class Role(msgspec.Struct, frozen=True):
    """A named set of grants. A sealed role is changed by a release alone; `template_ref` names what it came from."""

    key: str
    family: Family
    grants: tuple[Grant, ...]
    version: int = 1
    sealed: bool = False
    template_ref: str = ""


class Source(StrEnum):
    """How somebody came by a role."""

    STANDING = "standing"
    SCIM = "scim"
    JIT = "jit"
    BREAK_GLASS = "break_glass"


class Assignment(msgspec.Struct, frozen=True):
    """A role that somebody has, within a scope, from a moment on and before another."""

    role: str
    scope: Scope = EVERYWHERE
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    source: Source = Source.STANDING


class Resource(msgspec.Struct, frozen=True):
    """What is asked about, as far as scopes tell things apart. None is *unknown*."""

    locality: str | None = None
    brand: str | None = None
    jurisdiction: str | None = None
    segment: str | None = None
    market: str | None = None
    owner: str | None = None
    amount_minor: int | None = None
    currency: str | None = None


NOTHING_KNOWN: Final = Resource()


class Context(msgspec.Struct, frozen=True):
    """Who asks, from where, how surely known, and when by the database's clock. None is *unknown*."""

    principal: str | None = None
    db_now: datetime | None = None
    acr: int | None = None
    auth_time: datetime | None = None
    network: IPv4Address | IPv6Address | None = None


class Outcome(StrEnum):
    """What a decision says."""

    ALLOW = "allow"
    DENY = "deny"
    NEEDS_STEP_UP = "needs_step_up"


class Reason(StrEnum):
    """Why a decision says it."""

    GRANTED = "granted"
    DENIED = "denied"
    OUT_OF_SCOPE = "out_of_scope"
    NO_GRANT = "no_grant"
    UNKNOWN_PERMISSION = "unknown_permission"
    SIGN_IN_AGAIN = "sign_in_again"


class Decision(msgspec.Struct, frozen=True):
    """What was decided, by which grants; `fields` is what may be seen or changed, None is all of it."""

    outcome: Outcome
    reason: Reason
    grants: tuple[str, ...] = ()
    fields: frozenset[str] | None = frozenset()


class Cap(msgspec.Struct, frozen=True):
    """The most that an amount in a currency may be."""

    currency: str
    max_amount_minor: int


class Conditions(msgspec.Struct, frozen=True):
    """Scopes laid on one another: all that any of them says. `sets` goes by the names of `Resource`."""

    sets: tuple[tuple[str, frozenset[str]], ...] = ()
    own_only: bool = False
    caps: tuple[Cap, ...] = ()
    fields: frozenset[str] | None = None
    windows: tuple[Window, ...] = ()
    networks: tuple[tuple[IPv4Network | IPv6Network, ...], ...] = ()
    min_acr: int = 0
    max_auth_age_seconds: int | None = None


class HeldGrant(msgspec.Struct, frozen=True):
    """A grant as somebody holds it: by an assignment, under all scopes that narrow it."""

    grant_id: str
    conditions: Conditions
    valid_from: datetime | None
    valid_to: datetime | None


class GrantTable(msgspec.Struct, frozen=True):
    """All that somebody holds, by permission; a permission that is not among `known` is denied."""

    known: frozenset[str]
    allows: dict[str, tuple[HeldGrant, ...]]
    denies: dict[str, tuple[HeldGrant, ...]]


class DutyRule(msgspec.Struct, frozen=True):
    """Two kinds of work that one person may not do both (separation of duties)."""

    key: str
    first: frozenset[str]
    second: frozenset[str]
    why: str


class Finding(msgspec.Struct, frozen=True):
    """Something wrong with a set of roles; `role` is empty where it is about none."""

    kind: str
    role: str
    detail: str


class Difference(msgspec.Struct, frozen=True):
    """What a change of a role gives or takes, for one permission."""

    role: str
    permission: str
    gives: bool
    takes: bool
    before: tuple[Grant, ...]
    after: tuple[Grant, ...]
