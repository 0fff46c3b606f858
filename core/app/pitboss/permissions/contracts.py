"""The registry of permissions, and which role holds which."""

from __future__ import annotations

from enum import StrEnum
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


class Role(StrEnum):
    """Who asks, as far as permissions tell people apart."""

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
    roles: frozenset[Role]
    summary: str

    @property
    def action(self) -> Action:
        """The last part of the key."""
        return Action(self.key.rpartition(".")[2])


VISITOR: Final = Actor(ActorKind.PLAYER, "visitor")
"""Somebody who has not signed in."""


def find_role(actor: Actor) -> Role:
    """Return the role that `actor` has."""
    return Role.VISITOR if actor == VISITOR else Role(actor.kind.value)


def _permission(key: str, risk: Risk, roles: str, summary: str) -> Permission:
    return Permission(key, risk, frozenset(map(Role, roles.split())), summary)


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
