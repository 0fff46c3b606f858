"""The registry of the types of events that exist, what each says was written, and which names are never told."""

from __future__ import annotations

from typing import Final

import msgspec

from pitboss.audit.contracts.values import Category, Rows, Written


class EventType(msgspec.Struct, frozen=True):
    """A registered type: what it is about, and which paths besides the personal ones are classified."""

    category: Category
    target_type: str
    summary: str
    classified: frozenset[str] = frozenset()


WRITES: Final[dict[str, tuple[Written, ...]]] = {
    "tenant.reserved": (Written("tenant"),),
    "tenant.activated": (Written("tenant", Rows.SHARED),),
    "tenant.updated": (Written("tenant", Rows.SHARED),),
    "tenant.suspended": (Written("tenant"),),
    "tenant.resumed": (Written("tenant"),),
    "tenant.closed": (Written("tenant"),),
    "tenant.frozen": (Written("tenant"),),
    "tenant.thawed": (Written("tenant"),),
    "tenant.moved": (Written("tenant"),),
    "move.began": (Written("tenant_move"),),
    "move.advanced": (Written("tenant_move"),),
    "move.rolled_back": (Written("tenant_move"),),
    "brand.added": (Written("brand", Rows.ONE),),
    "brand.updated": (Written("brand", Rows.ONE),),
    "brand.removed": (Written("brand", Rows.ONE),),
    "domain.added": (Written("domain"),),
    "domain.updated": (Written("domain"),),
    "domain.removed": (Written("domain"),),
    "directory.published": (Written("cell", Rows.SHARED),),
    "cell.registered": (Written("cell"),),
    "cell.updated": (Written("cell"),),
    "plugin.enabled": (Written("plugin_enablement"),),
    "plugin.disabled": (Written("plugin_enablement"),),
    "plugin.configured": (Written("plugin_enablement"),),
    "policy.applied": (Written("tenant_policy", Rows.ONE),),
    "theme.applied": (Written("brand_theme"),),
    "theme.removed": (Written("brand_theme"),),
    "destination.added": (Written("audit_destination", Rows.ONE),),
    "destination.removed": (Written("audit_destination", Rows.ONE),),
    "player.registered": (
        Written("player"),
        Written("player_identity", Rows.ONE),
        Written("player_credential", Rows.ONE),
        Written("subject_key", Rows.KIN),
    ),
    "player.status_changed": (Written("player"),),
    "player.closed": (Written("player"),),
    "player.password_reset": (Written("player_credential", Rows.ONE),),
    "keys.prepared": (Written("key_epoch", Rows.ONE), Written("keyring", Rows.ONE)),
    "keys.epoch_started": (Written("key_epoch", Rows.SOME), Written("keyring", Rows.ONE)),
    "keys.epochs_retired": (Written("key_epoch", Rows.SOME),),
    "keys.epochs_destroyed": (Written("key_epoch", Rows.SOME), Written("erasure", Rows.ANY)),
    "player.erased": (
        Written("erasure"),
        Written("player_identity", Rows.MAYBE),
        Written("player_credential", Rows.MAYBE),
        Written("subject_key", Rows.KIN),
    ),
    "player.corrected": (Written("player_identity", Rows.ONE),),
    "player.erasure_refused": (Written("subject_key", Rows.KIN),),
    "game.enabled": (Written("game"),),
    "game.disabled": (Written("game"),),
    "game.suspended": (Written("game"),),
    "game.resumed": (Written("game"),),
    "game.catalogue_synced": (Written("game", Rows.SOME),),
    "limit.set": (Written("player_limit play_time_limit", Rows.ONE),),
    "limit.removed": (Written("player_limit play_time_limit", Rows.ONE),),
    "limit.change_asked": (Written("player_limit play_time_limit", Rows.ONE),),
    "award.ordered": (Written("award_terms"),),
    "award.cancelled": (Written("award_terms"),),
    "exclusion.set": (Written("exclusion"),),
    "exclusion.lift_asked": (Written("exclusion"),),
    "retention.hold_placed": (Written("legal_hold"),),
    "retention.lift_asked": (Written("legal_hold"),),
    "retention.hold_lifted": (Written("legal_hold"),),
    "retention.plan_proposed": (Written("retention_run"),),
    "retention.plan_approved": (Written("retention_run"),),
    "retention.rows_destroyed": (Written("exclusion play_time_limit", Rows.ANY),),
    "retention.carried_out": (Written("retention_run"),),
    "quality.finding_opened": (Written("quality_finding"),),
    "quality.finding_closed": (Written("quality_finding"),),
    "subject_case.received": (Written("subject_case"),),
    "subject_case.moved": (Written("subject_case", Rows.SHARED),),
    "subject_case.ended": (Written("subject_case", Rows.SHARED),),
    "subject_case.restricted": (
        Written("processing_restriction"),
        Written("subject_case", Rows.SHARED),
        Written("subject_key", Rows.KIN),
    ),
    "subject_case.restriction_lifted": (Written("processing_restriction"), Written("subject_key", Rows.KIN)),
    "subject_case.corrected": (Written("subject_case", Rows.SHARED),),
    "subject_export.asked": (Written("subject_export"),),
    "subject_export.made": (Written("subject_export"), Written("subject_key", Rows.KIN)),
    "subject_export.fetched": (Written("subject_case", Rows.MAYBE),),
    "subject_export.removed": (Written("subject_export"),),
}
"""Which captured rows an event tells of: each row written is told of by one event, each of these events by a row.

A table whose changes are audited by events stands here at least once; types that are missing tell of none.
"""

PERSONAL_FIELDS: Final = frozenset(
    [
        "email",
        "email_index",
        "first_name",
        "last_name",
        "birth_date",
        "country",
        "phone",
        "address",
        "postal_code",
        "city",
        "document_number",
        "iban",
        "ip",
        "password",
        "password_hash",
        "secret",
        "token",
        "wrapped_key",
        "token_hash",
    ]
)
"""Names that are classified in every event type, at whatever depth of a path they stand."""
NEVER_TOLD: Final = frozenset("password password_hash secret token token_hash wrapped_key".split())
"""Those of them whose values do not stand in an event at all, not even sealed."""


def _types(
    category: Category, target_type: str, summaries: dict[str, str], classified: str = ""
) -> dict[str, EventType]:
    paths = frozenset(classified.split())
    return {key: EventType(category, target_type, summary, paths) for key, summary in summaries.items()}


KEY_ROTATED: Final = "audit.key_rotated"
"""The one type that no room records: the sequencer writes it into the log, signed by the key that goes."""

EVENT_TYPES: Final[dict[str, EventType]] = {
    **_types(
        Category.CONFIG_CHANGE,
        "tenant",
        {
            "tenant.reserved": "A tenant got its number and its cell; it does not serve yet",
            "tenant.activated": "A tenant began to serve",
            "tenant.updated": "Properties of a tenant changed",
            "tenant.suspended": "A tenant takes no new business; what is owed to its players is still paid",
            "tenant.resumed": "A suspended tenant takes business again",
            "tenant.closed": "A tenant was closed for good",
            "tenant.frozen": "A tenant is served by nobody while it moves to another cell",
            "tenant.thawed": "A tenant's move was rolled back; its cell serves it again",
            "tenant.moved": "A tenant lives in another cell from now on",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "move",
        {
            "move.began": "A tenant was told to move to another cell",
            "move.advanced": "A move came one step further",
            "move.rolled_back": "A move was given up; nothing of the tenant is left in the other cell",
            "move.left": "A tenant leaves this cell; what happened here until now moves with it",
            "move.arrived": "A tenant came from another cell, whose log of it ended with the root that is named",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "brand",
        {
            "brand.added": "A brand was added to a tenant",
            "brand.updated": "Properties of a brand changed",
            "brand.removed": "A brand was removed",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "domain",
        {
            "domain.added": "A domain now leads to a brand",
            "domain.updated": "A domain leads elsewhere",
            "domain.removed": "A domain leads nowhere any more",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "cell",
        {
            "cell.registered": "A cell was entered into the register",
            "cell.updated": "A cell is reached elsewhere",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "directory",
        {
            "directory.published": "Control signed a new directory snapshot",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "plugin",
        {
            "plugin.enabled": "A plugin was enabled for a tenant",
            "plugin.disabled": "A plugin was disabled for a tenant",
            "plugin.configured": "A plugin's configuration changed",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "policy",
        {"policy.applied": "What a tenant tightens, or the version of one of its packs, changed"},
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "theme",
        {
            "theme.applied": "How a brand looks changed",
            "theme.removed": "A brand looks as the platform does again",
        },
    ),
    **_types(
        Category.SYSTEM,
        "keyring",
        {
            "keys.prepared": "A tenant got its key in the key service and its first epoch",
            "keys.epoch_started": "A tenant's keys began to go under the key of a new epoch",
            "keys.epochs_retired": "The wrapped keys of past epochs were taken away: nothing stands under them any more",
            "keys.epochs_destroyed": "Keys of past epochs were destroyed: older copies of the database open nothing more",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "ledger",
        {"ledger.prepared": "House accounts and sources of a tenant were opened"},
    ),
    **_types(
        Category.USER_ACTION,
        "player",
        {
            "player.registered": "A player account was opened",
            "player.status_changed": "A player account was suspended or made active again",
            "player.closed": "A player account was closed",
            "player.corrected": "Personal values of a player were put right",
            "player.erased": "Who a player was was erased: the rows and the keys that open every copy of them",
            "player.erasure_refused": "An erasure was asked for and the law or a hold stood against it",
            "player.credit_ordered": "A deposit by hand: who and why; the journal row of the same reference is the booking",
        },
    ),
    **_types(
        Category.SECURITY,
        "player",
        {
            "player.signed_in": "A player signed in",
            "player.sign_in_failed": "A sign-in to an existing account was refused",
            "player.signed_out": "A player signed out",
            "player.password_reset_requested": "A reset token was made for an existing account",
            "player.password_reset": "A password was replaced through a reset token",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "game",
        {
            "game.enabled": "A game was made playable",
            "game.disabled": "A game was taken out of play",
            "game.suspended": "A provider took a game out of play",
            "game.resumed": "A provider put a game that it had taken out into play again",
        },
    ),
    **_types(
        Category.SYSTEM,
        "webhook",
        {"webhook.tried_again": "A webhook that nobody could carry out is to be carried out after all"},
    ),
    **_types(
        Category.SYSTEM,
        "plugin",
        {"game.catalogue_synced": "The list of games of a provider was read and changed"},
    ),
    **_types(
        Category.USER_ACTION,
        "game_session",
        {
            "game_session.launched": "A player opened a game",
            "game_session.closed": "A game session ended",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "limit",
        {
            "limit.set": "A limit was set or changed",
            "limit.removed": "A limit was taken away",
            "limit.change_asked": "A looser limit, or none, was asked for and waits",
        },
    ),
    **_types(
        Category.USER_ACTION,
        "award",
        {
            "award.ordered": "Bonus money by hand: who and why; the journal row of the award's id is the booking",
            "award.cancelled": "An award of bonus money was ended by an operator",
        },
    ),
    **_types(
        Category.USER_ACTION,
        "exclusion",
        {
            "exclusion.set": "A player was excluded, or takes a time-out",
            "exclusion.lift_asked": "The early end of an exclusion was asked for",
        },
    ),
    **_types(
        Category.USER_ACTION,
        "subject_case",
        {
            "subject_case.received": "A data subject asked for something; the clock runs",
            "subject_case.moved": "A data subject's request came a step further",
            "subject_case.ended": "A data subject's request was carried out, in part or whole, or refused",
            "subject_case.corrected": "What a data subject asked for was put right",
            "subject_case.restricted": "A player's data are kept and not used",
            "subject_case.restriction_lifted": "A player's data may be used again",
        },
    ),
    **_types(
        Category.SECURITY,
        "subject_export",
        {
            "subject_export.asked": "What is held of a player is to be collected",
            "subject_export.made": "What is held of a player was collected",
            "subject_export.fetched": "Somebody fetched what is held of a player",
            "subject_export.removed": "An export of what is held of a player was removed",
        },
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "legal_hold",
        {
            "retention.hold_placed": "A legal hold was placed: what it keeps, for which case and why",
            "retention.lift_asked": "The end of a legal hold was asked for; it holds until somebody else lifts it",
            "retention.hold_lifted": "A legal hold was lifted",
        },
    ),
    **_types(
        Category.SYSTEM,
        "retention_run",
        {
            "retention.plan_proposed": "What is to be destroyed was counted and proposed",
            "retention.plan_approved": "What somebody else had proposed was approved",
            "retention.rows_destroyed": "Rows whose time was over were destroyed in this transaction",
            "retention.carried_out": "A plan was carried out: the certificate of what was destroyed, and by whose word",
        },
    ),
    **_types(
        Category.SYSTEM,
        "quality_finding",
        {
            "quality.finding_opened": "A record was found missing, double, or other than its counterpart",
            "quality.finding_closed": "What had been found wrong with a record is so no more",
        },
    ),
    **_types(
        Category.SECURITY,
        "audit_log",
        {KEY_ROTATED: "A log got another signing key; the one before it has signed the statement"},
    ),
    **_types(
        Category.CONFIG_CHANGE,
        "destination",
        {
            "destination.added": "Events of a tenant are sent to a further destination",
            "destination.removed": "A destination gets no events any more",
            "destination.replayed": "Events are sent to a destination again, from an entry of the log on",
        },
    ),
    **_types(
        Category.DATA_ACCESS,
        "player",
        {"player.viewed": "Somebody was shown what is held of one player"},
    ),
    **_types(
        Category.DATA_ACCESS,
        "quality_hour",
        {"quality.viewed": "Somebody was shown what is wrong with records of an hour"},
    ),
    **_types(
        Category.DATA_ACCESS,
        "round",
        {
            "round.viewed": "Somebody was shown a round with its bookings",
            "round.listed": "Somebody was shown rounds of players",
            "round.exported": "Somebody was given every sealed booking of a tenant",
        },
    ),
    **_types(
        Category.DATA_ACCESS,
        "subject_case",
        {"subject_case.listed": "Somebody was shown requests of data subjects"},
    ),
    **_types(
        Category.DATA_ACCESS,
        "legal_hold",
        {"retention.viewed": "Somebody was shown legal holds and plans of destruction"},
    ),
    **_types(
        Category.DATA_ACCESS,
        "tenant",
        {
            "tenant.exported": "Somebody was given all data of a tenant as a kit, with the keys that open it if it says reveal"
        },
    ),
    **_types(
        Category.DATA_ACCESS,
        "audit_log",
        {
            "audit.viewed": "Somebody was shown events of the log",
            "audit.exported": "Somebody was given events of the log as evidence",
        },
    ),
    **_types(
        Category.SECURITY,
        "refusal",
        {
            "permission.refused": "Somebody asked for what their role may not do",
            "token.refused": "A token was shown that opens nothing",
            "request.throttled": "Attempts came too fast and were not looked at",
            "webhook.refused": "A webhook was signed wrongly, or too late",
        },
    ),
    **_types(
        Category.SECURITY,
        "capture",
        {
            "capture.unexplained": "A row was written, and no event of that transaction tells of it",
            "capture.unfounded": "An event tells of a row that its transaction did not write",
            "capture.findings_accepted": "What holding events against rows had found was looked into",
        },
    ),
}
"""Every type there is. A room that needs another adds it here: an unknown type is refused."""
