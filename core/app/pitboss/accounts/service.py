"""Use cases of player accounts.

Hashing a password takes longer than a transaction should: the edge checks it between two of them, with
`pitboss.accounts.runtime.Passwords`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.accounts import rules, store
from pitboss.accounts.contracts import (
    EMAIL_INDEX,
    IDENTITY_COLUMNS,
    RESET_LIFETIME,
    SESSION_LIFETIME,
    THROTTLE_INDEX,
    BrandTerms,
    Identity,
    Letter,
    Player,
    PlayerSession,
    PlayerStatus,
    PreparedRegistration,
    Registration,
    SignIn,
    SignInAttempt,
    SignInFailure,
    StatusReason,
)
from pitboss.accounts.errors import (
    EmailTaken,
    MoneyLeft,
    PlayerErased,
    PlayerNotClosed,
    PlayerNotFound,
    ResetTokenInvalid,
    SessionInvalid,
    TooManyAttempts,
)
from pitboss.accounts.store import read_player_numbers
from pitboss.audit.contracts import AuditEvent, Change
from pitboss.audit.service import record_event, record_sealed_event
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Actor, ActorKind, Origin, TenantScope
from pitboss.keys import service as keys
from pitboss.keys.contracts import ErasureCheck, ErasureOrder, ErasureOutcome, FieldPlace, SubjectState
from pitboss.keys.errors import SubjectErased
from pitboss.keys.service import KeyRing
from pitboss.permissions.contracts import VISITOR
from pitboss.platform.outbox import enqueue

__all__ = ["read_player_numbers"]

RESET_MAIL_JOB: Final = "accounts.send_password_reset"
"""Outbox job; its payload is the keyword arguments of `make_password_reset`, and `mail_id`, by which a job that
runs again writes the same mail and not another one."""

_Allowance = tuple[int, timedelta]
_SIGN_IN: Final[_Allowance] = (10, timedelta(seconds=30))
_ADDRESS: Final[_Allowance] = (100, timedelta(seconds=1))
_RESET: Final[_Allowance] = (3, timedelta(minutes=20))
_KEEP_RESETS = timedelta(days=30)
_NOBODY: Final = 0


def player_actor(player: Player) -> Actor:
    """Return the player as an actor."""
    return Actor(ActorKind.PLAYER, str(player.public_id))


def prepare_registration(
    registration: Registration, terms: BrandTerms, today: date, *, minimum_age_years: int
) -> PreparedRegistration:
    """Return the registration checked and normalised, without its password; raise `RegistrationInvalid`."""
    return rules.prepare_registration(registration, terms, today, minimum_age_years)


def check_password(password: str) -> None:
    """Raise `PasswordInvalid` for a password that nobody should have."""
    rules.check_password(password)


async def register(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    prepared: PreparedRegistration,
    password_hash: str,
    origin: Origin,
) -> Player:
    """Open an account and return it; raise `EmailTaken`. The edge opens the wallet in the same transaction.

    What is personal is sealed under a key of the player's own. Whatever follows from it, such as the age, was decided
    by `prepare_registration` before.
    """
    player = await store.insert_player(session, scope, new_uuid(), prepared)
    plain = rules.list_plain(prepared.identity)
    fields = [(_place(player, column), value) for column, value in plain]
    sealed = dict(zip(IDENTITY_COLUMNS, await keys.seal_fields(session, scope, ring, fields), strict=True))
    email_index = await keys.compute_index(session, scope, ring, EMAIL_INDEX, prepared.email_normalised)
    if not await store.insert_identity(session, scope, player, email_index, sealed):
        raise EmailTaken("the brand has an account with this address")
    await store.insert_credential(session, scope, player.player_id, password_hash)
    changes = (
        Change("brand", None, player.brand),
        Change("currency", None, player.currency),
        Change("language", None, player.language),
        Change("licence", None, player.licence),
        Change("identity.email", None, prepared.identity.email),
    )
    event = _event("player.registered", player, player_actor(player), origin, changes=changes)
    await record_sealed_event(session, scope, ring, event)
    return player


def _place(player: Player, column: str) -> FieldPlace:
    return FieldPlace(player.public_id, "player_identity", column, str(player.player_id))


async def begin_sign_in(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, *, brand: str, email: str, origin: Origin
) -> SignInAttempt:
    """Count an attempt and load what it is judged by; raise `TooManyAttempts`.

    The edge commits, lets `Passwords.verify` judge, and hands both to `finish_sign_in` in a new transaction.
    """
    email_normalised = rules.normalise_email(email)
    account_key = await _charge(session, scope, ring, origin, _SIGN_IN, "sign_in", brand, email_normalised or email)
    email_index = await keys.compute_index(session, scope, ring, EMAIL_INDEX, email_normalised or "")
    found = await store.fetch_credential(session, scope, brand, email_index)
    player_id, password_hash = found or (_NOBODY, "")
    return SignInAttempt(player_id, password_hash, (account_key,))


async def finish_sign_in(
    session: AsyncSession, scope: TenantScope, attempt: SignInAttempt, *, fits: bool, origin: Origin
) -> SignIn | SignInFailure:
    """Open a session when the password `fits` and the account is active.

    A failure is returned, not raised: its audit row is to stay. What is written is the same for an account
    that does not exist, so that time tells nothing either.
    """
    player = await store.fetch_player(session, scope, attempt.player_id)
    if player is None or not fits:
        await _record_failure(session, scope, player, "credentials", origin)
        return SignInFailure.WRONG
    if player.status is not PlayerStatus.ACTIVE:
        await _record_failure(session, scope, player, player.status.name.lower(), origin)
        return SignInFailure.NOT_ACTIVE
    await store.refund_attempts(session, scope, attempt.throttle_keys)
    token = token_urlsafe(32)
    expires_at = await store.insert_session(session, scope, player.player_id, _hash_token(token), SESSION_LIFETIME)
    await _record(session, scope, "player.signed_in", player, player_actor(player), origin)
    return SignIn(player, token, expires_at)


async def find_session(session: AsyncSession, scope: TenantScope, token: str) -> PlayerSession | None:
    """Return the session of an opaque token while it is in force and its account active, and note its use."""
    return await store.fetch_session(session, scope, _hash_token(token))


async def get_session(session: AsyncSession, scope: TenantScope, token: str) -> PlayerSession:
    """Return the session of an opaque token; raise `SessionInvalid`."""
    found = await find_session(session, scope, token)
    if found is None:
        raise SessionInvalid("there is no session with this token")
    return found


async def sign_out(session: AsyncSession, scope: TenantScope, current: PlayerSession, origin: Origin) -> None:
    """End a session; ending it again does nothing."""
    if await store.delete_session(session, scope, current.token_hash):
        await _record(session, scope, "player.signed_out", current.player, player_actor(current.player), origin)


async def get_player(session: AsyncSession, scope: TenantScope, public_id: UUID) -> Player:
    """Return a player; raise `PlayerNotFound`."""
    return await _get(session, scope, public_id, lock=False)


async def claim_player(session: AsyncSession, scope: TenantScope, player_id: int) -> None:
    """Let what depends on one player take turns: until the transaction ends nobody else claims the player."""
    await store.lock_player(session, scope, player_id)


async def list_public_ids(session: AsyncSession, scope: TenantScope, player_ids: Collection[int]) -> dict[int, UUID]:
    """Return the public ids of players by their numbers inside the cell."""
    return await store.fetch_public_ids(session, scope, player_ids)


async def list_inactive_numbers(session: AsyncSession, scope: TenantScope) -> list[int]:
    """Return the numbers inside the cell of all players who are suspended or closed; read whole, for the proof."""
    return await store.fetch_inactive_numbers(session, scope)


async def count_players(session: AsyncSession, scope: TenantScope, brand: str) -> int:
    """Return how many player accounts a brand has, closed ones too."""
    return await store.count_players(session, scope, brand)


async def count_licences(session: AsyncSession, scope: TenantScope) -> dict[str, int]:
    """Return how many player accounts are under each licence, closed ones too."""
    return await store.count_licences(session, scope)


async def list_licences(session: AsyncSession, scope: TenantScope) -> tuple[str, dict[int, str]]:
    """Return the licence that most players are under, and that of each who is under another, for the proof."""
    counted = await store.count_licences(session, scope)
    usual = max(counted, key=lambda licence: (counted[licence], licence), default="")
    return usual, await store.fetch_licences_beside(session, scope, usual)


async def get_identity(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, player: Player, *, despite_restriction: bool = False
) -> Identity:
    """Return a player's personal data; raise `PlayerErased`, or `SubjectRestricted` where it is kept for the law alone.

    `despite_restriction` is for what the law demands or the player asks for, and for nothing else.
    """
    sealed = await store.fetch_identity(session, scope, player.player_id)
    if sealed is None:
        if await keys.find_state(session, scope, player.public_id) is SubjectState.ERASED:
            raise PlayerErased("who this player was has been erased")
        raise PlayerNotFound("there is no such player")
    fields = [(_place(player, column), sealed[column]) for column in IDENTITY_COLUMNS]
    try:
        opened = await keys.open_fields(session, scope, ring, fields, despite_restriction=despite_restriction)
        return rules.read_plain(opened)
    except SubjectErased:
        raise PlayerErased("who this player was has been erased") from None


async def change_status(
    session: AsyncSession,
    scope: TenantScope,
    public_id: UUID,
    *,
    status: PlayerStatus,
    reason: StatusReason,
    actor: Actor,
    origin: Origin,
) -> Player:
    """Suspend an account, which ends its sessions, or make it active again; the same status again does nothing.

    Raises `PlayerNotFound`, `PlayerClosed`, `StatusRefused`.
    """
    player = await _get(session, scope, public_id, lock=True)
    rules.check_status_change(player.status, status)
    if player.status is status:
        return player
    changed = await store.update_status(session, scope, player.player_id, status, reason.value)
    if status is not PlayerStatus.ACTIVE:
        await store.delete_player_sessions(session, scope, player.player_id)
    change = Change("status", player.status.name.lower(), status.name.lower())
    await _record(
        session, scope, "player.status_changed", player, actor, origin, reason=reason.value, changes=(change,)
    )
    return changed


async def close(
    session: AsyncSession,
    scope: TenantScope,
    public_id: UUID,
    *,
    holds_money: bool,
    reason: StatusReason,
    actor: Actor,
    origin: Origin,
) -> Player:
    """Close an account for good and end its sessions; closing it again does nothing.

    `holds_money` says whether a wallet, locked in this transaction, holds money, held money or debt: then
    closing is refused for everybody (`MoneyLeft`), because money leaves by a posting or not at all.
    """
    player = await _get(session, scope, public_id, lock=True)
    if player.status is PlayerStatus.CLOSED:
        return player
    if holds_money:
        raise MoneyLeft("the account still has money, held money or debt")
    closed = await store.update_status(session, scope, player.player_id, PlayerStatus.CLOSED, reason.value)
    await store.delete_player_sessions(session, scope, player.player_id)
    await store.use_resets(session, scope, player.player_id)
    change = Change("status", player.status.name.lower(), "closed")
    await _record(session, scope, "player.closed", player, actor, origin, reason=reason.value, changes=(change,))
    return closed


async def correct_identity(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    public_id: UUID,
    corrected: Mapping[str, str | date],
    *,
    actor: Actor,
    origin: Origin,
) -> Player:
    """Put personal values of a player right, by column; the same values again do nothing.

    The address is not among them: it signs in. Raises `RegistrationInvalid` for what nobody could register with,
    `PlayerNotFound` and `PlayerErased`.
    """
    player = await _get(session, scope, public_id, lock=True)
    before = await get_identity(session, scope, ring, player, despite_restriction=True)
    after = rules.correct(before, corrected)
    changed = [name for name in IDENTITY_COLUMNS if getattr(before, name) != getattr(after, name)]
    if not changed:
        return player
    plain = dict(rules.list_plain(after))
    fields = [(_place(player, name), plain[name]) for name in changed]
    sealed = dict(zip(changed, await keys.seal_fields(session, scope, ring, fields), strict=True))
    await store.update_identity(session, scope, player.player_id, sealed)
    changes = tuple(
        Change(f"identity.{name}", str(getattr(before, name)), str(getattr(after, name))) for name in changed
    )
    await record_sealed_event(session, scope, ring, _event("player.corrected", player, actor, origin, changes=changes))
    return player


async def erase(
    session: AsyncSession,
    scope: TenantScope,
    ring: KeyRing,
    public_id: UUID,
    *,
    policy_version: str,
    checks: Sequence[ErasureCheck],
    reason: str,
    actor: Actor,
    origin: Origin,
) -> ErasureOutcome:
    """Erase who a player is: the rows that say it, and the key that opens every sealed copy of them.

    The account itself stays, with its money, under its ids. Where a check finds an obstacle nothing goes, and the
    player's fields are read for the law alone from then on. A player who was erased before gets the certificate of then.
    Raises `PlayerNotFound` and `PlayerNotClosed`.
    """
    player = await _get(session, scope, public_id, lock=True)
    found = await keys.find_certificate(session, scope, public_id)
    if found is not None:
        return ErasureOutcome(found, ())
    if player.status is not PlayerStatus.CLOSED:
        raise PlayerNotClosed("close the account first: its money leaves by a posting or not at all")

    async def remove() -> Mapping[str, int]:
        return await store.delete_person(session, scope, player.player_id)

    order = ErasureOrder(public_id, policy_version)
    outcome = await keys.erase_subject(session, scope, ring, order, checks, remove)
    event_type, result = ("player.erasure_refused", "denied") if outcome.obstacles else ("player.erased", "success")
    changes = tuple(Change(path, None, told) for path, told in rules.tell_erasure(outcome))
    await _record(session, scope, event_type, player, actor, origin, reason=reason, outcome=result, changes=changes)
    return outcome


async def request_password_reset(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, *, brand: str, domain: str, email: str, origin: Origin
) -> None:
    """Leave a job behind that mails a reset token; nothing tells whether the account exists.

    For an unknown address the job does nothing. Raises `TooManyAttempts`, counted by what was typed.
    """
    email_normalised = rules.normalise_email(email)
    await _charge(session, scope, ring, origin, _RESET, "password_reset", brand, email_normalised or email)
    email_index = await keys.compute_index(session, scope, ring, EMAIL_INDEX, email_normalised or "")
    found = await store.fetch_credential(session, scope, brand, email_index)
    payload = {
        "player_id": found[0] if found else _NOBODY,
        "domain": domain,
        "causation_id": origin.request_id,
        "mail_id": str(new_uuid()),
    }
    await enqueue(session, scope, RESET_MAIL_JOB, payload)


async def make_password_reset(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, *, player_id: int, domain: str, causation_id: str
) -> Letter | None:
    """Make a reset token and the mail that carries it; None when there is nobody to write to.

    The token exists in the mail alone. The edge sends the mail before it commits: a token that was not sent
    is worse than a mail whose token is not valid.
    """
    player = await store.fetch_player(session, scope, player_id)
    if player is None or player.status is PlayerStatus.CLOSED:
        return None
    identity = await get_identity(session, scope, ring, player, despite_restriction=True)
    token = token_urlsafe(32)
    await store.insert_reset(session, scope, player_id, _hash_token(token), RESET_LIFETIME)
    actor, origin = Actor(ActorKind.SERVICE, "accounts.send_password_reset"), Origin(causation_id=causation_id)
    await _record(session, scope, "player.password_reset_requested", player, actor, origin)
    subject, body = rules.compose_reset_mail(
        player.language,
        first_name=identity.first_name,
        domain=domain,
        link=f"https://{domain}/reset-password#token={token}",
        minutes=int(RESET_LIFETIME.total_seconds()) // 60,
    )
    return Letter(f"no-reply@{domain}", identity.email, subject, body, player.language)


async def check_reset_token(session: AsyncSession, scope: TenantScope, token: str) -> None:
    """Raise `ResetTokenInvalid` unless `token` may still be used; so that no hash is computed for a bad one."""
    if await store.fetch_reset_player(session, scope, _hash_token(token)) is None:
        raise ResetTokenInvalid("the token is unknown, used or too old")


async def reset_password(
    session: AsyncSession, scope: TenantScope, *, token: str, password_hash: str, origin: Origin
) -> None:
    """Replace the password, use up all reset tokens and end all sessions; raise `ResetTokenInvalid`."""
    player = await store.fetch_reset_player(session, scope, _hash_token(token))
    if player is None:
        raise ResetTokenInvalid("the token is unknown, used or too old")
    await store.use_resets(session, scope, player.player_id)
    await store.update_password(session, scope, player.player_id, password_hash)
    await store.delete_player_sessions(session, scope, player.player_id)
    await _record(session, scope, "player.password_reset", player, player_actor(player), origin)


async def prune_sessions(session: AsyncSession, scope: TenantScope) -> int:
    """Delete sessions and tokens that are over; return how many sessions there were."""
    return await store.prune(session, scope, keep_resets=_KEEP_RESETS)


async def _get(session: AsyncSession, scope: TenantScope, public_id: UUID, *, lock: bool) -> Player:
    player = await store.fetch_player_by_public_id(session, scope, public_id, lock=lock)
    if player is None:
        raise PlayerNotFound("there is no such player")
    return player


async def _charge(
    session: AsyncSession, scope: TenantScope, ring: KeyRing, origin: Origin, allowance: _Allowance, *named: str
) -> bytes:
    """Charge the account's key, which is returned, then the address's: in this order, so that no two wait for another."""
    key = await _throttle_key(session, scope, ring, *named)
    charges = [(key, allowance)]
    if origin.ip:
        charges.append((await _throttle_key(session, scope, ring, "address", origin.ip), _ADDRESS))
    for charged, (burst, step) in charges:
        if not await store.charge_attempt(session, scope, charged, burst=burst, step=step):
            raise TooManyAttempts("too many attempts; try again later")
    return key


async def _record(
    session: AsyncSession,
    scope: TenantScope,
    event_type: str,
    player: Player,
    actor: Actor,
    origin: Origin,
    *,
    reason: str = "",
    outcome: str = "success",
    changes: tuple[Change, ...] = (),
) -> None:
    event = _event(event_type, player, actor, origin, reason=reason, outcome=outcome, changes=changes)
    await record_event(session, scope, event)


def _event(
    event_type: str,
    player: Player,
    actor: Actor,
    origin: Origin,
    *,
    reason: str = "",
    outcome: str = "success",
    changes: tuple[Change, ...] = (),
) -> AuditEvent:
    return AuditEvent(event_type, actor, origin, "player", str(player.public_id), changes, outcome, reason)


async def _record_failure(
    session: AsyncSession, scope: TenantScope, player: Player | None, reason: str, origin: Origin
) -> None:
    target_id = str(player.public_id) if player else "unknown"
    event = AuditEvent("player.sign_in_failed", VISITOR, origin, "player", target_id, (), "denied", reason)
    await record_event(session, scope, event)


async def _throttle_key(session: AsyncSession, scope: TenantScope, ring: KeyRing, *parts: str) -> bytes:
    """Return a digest under the tenant's key that no two lists of parts share, so that the table tells of nobody."""
    counted = "".join(f"{len(part)}:{part}" for part in parts).encode(errors="replace").decode()
    return await keys.compute_index(session, scope, ring, THROTTLE_INDEX, counted)


def _hash_token(token: str) -> bytes:
    return sha256(token.encode(errors="replace")).digest()
