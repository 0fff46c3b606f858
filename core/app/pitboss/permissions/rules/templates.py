"""The roles that come with a release: those of actors, and templates for staff in families of work."""

from __future__ import annotations

from typing import Final

from pitboss.permissions.contracts import PERMISSIONS, ActorRole, DutyRule, Family, Grant, Risk, Role, Scope, Strength

BUILT_IN: Final[dict[str, Role]] = {
    actor.value: Role(
        actor.value,
        Family.BUILT_IN,
        tuple(Grant(permission.key) for permission in PERMISSIONS.values() if actor in permission.roles),
        sealed=True,
    )
    for actor in ActorRole
}
"""What each kind of actor holds, everywhere."""

SURENESS: Final[dict[Risk, Scope]] = {
    Risk.LOW: Scope(),
    Risk.MEDIUM: Scope(),
    Risk.HIGH: Scope(min_acr=Strength.SECOND_FACTOR),
    Risk.CRITICAL: Scope(min_acr=Strength.PHISHING_RESISTANT, max_auth_age_seconds=900),
}
"""How surely staff sign in for a permission, by the harm that its misuse does."""

_CASE = "accounts.player.view subjects.case.view"
_PLAYER = "accounts.player.view games.round.view limits.limit.view limits.exclusion.view bonus.award.view"
_LAW = "policy.policy.view policy.pack.view retention.schedule.view"

_HELD: Final[dict[Family, dict[str, str]]] = {
    Family.PLATFORM: {
        "onboarding": f"tenancy.tenant.view tenancy.tenant.configure policy.pack.edit plughost.plugin.view "
        f"platform.status.view {_LAW}",
        "steward": "tenancy.tenant.view tenancy.state.edit platform.status.view permissions.role.view",
        "observer": f"tenancy.tenant.view plughost.plugin.view platform.status.view quality.measure.view {_LAW}",
    },
    Family.TENANT_ADMIN: {
        "administrator": f"tenancy.tenant.view plughost.plugin.view plughost.plugin.configure games.game.view "
        f"permissions.role.view platform.status.view quality.measure.view {_LAW}",
        "access_reader": "permissions.role.view tenancy.tenant.view audit.event.view",
        "observer": f"tenancy.tenant.view plughost.plugin.view games.game.view {_LAW}",
    },
    Family.PLAYER_SUPPORT: {
        "agent": f"{_PLAYER} games.game.view",
        "senior_agent": f"{_PLAYER} games.game.view accounts.player.edit",
        "case_agent": f"{_CASE} subjects.case.edit subjects.export.export subjects.restriction.edit",
        "case_reviewer": f"{_CASE} subjects.case.approve subjects.export.reveal",
        "lead": f"{_PLAYER} games.game.view accounts.player.edit subjects.case.view quality.measure.view",
    },
    Family.KYC: {
        "analyst": "accounts.player.view limits.exclusion.view",
        "reviewer": "accounts.player.view limits.exclusion.view accounts.player.edit",
        "identity_editor": f"{_CASE} subjects.identity.edit",
        "lead": f"{_CASE} accounts.player.edit limits.exclusion.view quality.measure.view",
    },
    Family.PAYMENTS: {
        "agent": "accounts.player.view games.round.view",
        "cashier": "accounts.player.view wallet.credit.edit",
        "reconciler": "ledger.book.view quality.measure.view quality.measure.export plughost.webhook.view",
        "integration": "plughost.plugin.view plughost.webhook.view plughost.webhook.edit",
    },
    Family.FRAUD_RISK: {
        "analyst": f"{_PLAYER}",
        "investigator": f"{_PLAYER} accounts.player.edit audit.event.view",
        "lead": f"{_PLAYER} accounts.player.edit audit.event.view retention.hold.view quality.measure.view",
    },
    Family.RESPONSIBLE_GAMING: {
        "agent": "accounts.player.view limits.limit.view limits.exclusion.view",
        "specialist": "accounts.player.view limits.limit.view limits.limit.edit limits.exclusion.view games.round.view",
        "exclusion_officer": "accounts.player.view limits.limit.view limits.exclusion.view limits.exclusion.edit",
        "lead": f"{_PLAYER} limits.limit.edit limits.exclusion.edit policy.policy.view",
    },
    Family.AML_COMPLIANCE: {
        "analyst": f"{_PLAYER} retention.hold.view {_LAW}",
        "hold_officer": "retention.hold.view retention.hold.edit accounts.player.view",
        "hold_release": "retention.hold.view retention.hold.delete accounts.player.view",
        "records_proposer": f"retention.plan.view retention.plan.edit retention.hold.view {_LAW}",
        "records_approver": f"retention.plan.view retention.plan.approve retention.hold.view {_LAW}",
        "privacy_officer": f"{_CASE} subjects.case.approve subjects.player.delete retention.hold.view {_LAW}",
    },
    Family.BONUS_CRM: {
        "agent": "accounts.player.view bonus.award.view",
        "manager": "accounts.player.view bonus.award.view bonus.award.edit limits.exclusion.view",
        "analyst": "bonus.award.view quality.measure.view",
    },
    Family.CASINO_CONTENT: {
        "observer": "games.game.view games.round.view",
        "manager": "games.game.view games.game.edit",
        "catalogue_keeper": "games.game.view games.game.edit games.catalogue.edit plughost.plugin.view",
    },
    Family.AFFILIATES: {},
    Family.FINANCE: {
        "accountant": "ledger.book.view games.round.view",
        "controller": "ledger.book.view games.round.view bonus.award.view quality.measure.view audit.event.view",
    },
    Family.BI_REPORTING: {
        "analyst": "quality.measure.view quality.measure.export",
        "data_keeper": "quality.measure.view quality.measure.edit quality.measure.export",
    },
    Family.TECHNICAL_OPERATIONS: {
        "operator": "platform.status.view platform.process.configure platform.backup.view plughost.webhook.view "
        "plughost.webhook.edit",
        "database_keeper": "platform.status.view platform.database.configure platform.backup.view "
        "platform.backup.edit platform.backup.reveal retention.record.delete",
        "backup_remover": "platform.status.view platform.backup.view platform.backup.delete",
        "mover": "relocation.move.view relocation.move.configure relocation.kit.export tenancy.tenant.view",
    },
    Family.SECURITY_AUDIT: {
        "auditor": "audit.event.view captures.finding.view captures.finding.approve permissions.role.view "
        "audit.destination.view keys.epoch.view",
        "revealer": "audit.event.view audit.event.reveal",
        "key_keeper": "keys.epoch.view keys.epoch.edit audit.destination.view audit.destination.configure",
    },
    Family.REGULATOR: {
        "inspector": f"audit.event.view games.round.view ledger.book.view {_LAW}",
        "observer": f"quality.measure.view platform.status.view {_LAW}",
    },
}


def _make(family: Family, name: str, held: str) -> Role:
    keys = sorted(set(held.split()))
    grants = tuple(Grant(key, scope=SURENESS[PERMISSIONS[key].risk]) for key in keys)
    return Role(f"{family.value}.{name}", family, grants, sealed=True)


TEMPLATES: Final[dict[str, Role]] = {
    role.key: role
    for role in (_make(family, name, held) for family, roles in _HELD.items() for name, held in roles.items())
}
"""What staff may be given. Families grow with the rooms: `affiliates` has nothing to hold yet."""


def _rule(key: str, first: str, second: str, why: str) -> DutyRule:
    return DutyRule(key, frozenset(first.split()), frozenset(second.split()), why)


DUTY_RULES: Final = (
    _rule(
        "destruction",
        "retention.plan.edit",
        "retention.plan.approve",
        "who proposes what is destroyed does not approve it",
    ),
    _rule(
        "destroying",
        "retention.plan.edit retention.plan.approve",
        "retention.record.delete",
        "who decides on a plan does not carry it out",
    ),
    _rule(
        "holds",
        "retention.hold.edit retention.plan.edit retention.plan.approve",
        "retention.hold.delete",
        "who lifts a hold neither placed it nor gains by a plan",
    ),
    _rule("cases", "subjects.case.edit", "subjects.case.approve", "who works on a case does not close it"),
    _rule(
        "exports",
        "subjects.export.export",
        "subjects.export.reveal",
        "who has a player's data collected does not fetch it",
    ),
    _rule(
        "erasure",
        "subjects.player.delete",
        "subjects.case.edit retention.hold.delete",
        "who erases neither opens the case nor lifts holds",
    ),
    _rule(
        "cash",
        "wallet.credit.edit",
        "ledger.book.view quality.measure.edit",
        "who deposits by hand does not check the books",
    ),
    _rule(
        "awards",
        "bonus.award.edit",
        "limits.limit.edit limits.exclusion.edit",
        "who gives bonus money does not loosen what protects players",
    ),
    _rule(
        "sealed_values",
        "audit.event.reveal",
        "audit.destination.configure keys.epoch.edit captures.finding.approve",
        "who opens sealed values neither sends the log elsewhere nor explains its gaps",
    ),
    _rule(
        "backups",
        "platform.backup.delete",
        "platform.backup.edit platform.backup.reveal",
        "who removes backups neither makes nor restores them",
    ),
    _rule(
        "moves",
        "relocation.kit.export",
        "tenancy.tenant.configure tenancy.state.edit",
        "who carries a tenant's data away neither configures tenants nor closes them",
    ),
)
"""Separation of duties. They bind staff; the built-in roles of actors stand until staff have accounts."""
