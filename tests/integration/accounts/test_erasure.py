"""Who a player is stands sealed everywhere, is erased with every copy, and the log tells and proves it all the same."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from subprocess import run as run_process
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy.ext.asyncio import AsyncSession
from tests.architecture.test_classes import NOT_SEALED
from tests.factories.captures import list_faults
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.dumps import Backup, backup, copy_keys, put_keys
from tests.factories.keys import key_folder, make_ring
from tests.factories.players import make_origin, make_registration, open_cell, register, sign_in
from tests.factories.tenants import environment_of
from tests.factories.web import apply_policies, cell_settings, store_directory

from pitboss.accounts import service as accounts
from pitboss.accounts import store
from pitboss.accounts.contracts import (
    EMAIL_INDEX,
    IDENTITY_COLUMNS,
    Identity,
    Player,
    Registration,
    SignInFailure,
    StatusReason,
)
from pitboss.accounts.errors import PlayerErased, PlayerNotClosed, RegistrationInvalid
from pitboss.accounts.runtime import Passwords
from pitboss.audit import service as audit
from pitboss.audit.contracts import EventFilter, RecordedEvent, Sealed
from pitboss.bootstrap import cli
from pitboss.captures.service import reconcile
from pitboss.kernel.classes import PERSONAL_KINDS
from pitboss.kernel.scope import Actor, ActorKind, TenantScope
from pitboss.keys import service as keys
from pitboss.keys.contracts import EpochState, ErasureCheck, ErasureOutcome, FieldPlace, Obstacle
from pitboss.keys.errors import SubjectRestricted
from pitboss.keys.rules import index_value, normalise
from pitboss.migrations.schema import load_metadata
from pitboss.platform.classes import class_of
from pitboss.platform.db import Database
from pitboss.platform.settings import Settings
from pitboss.worker.key_jobs import EPOCH_JOB, key_jobs
from pitboss_sdk.errors import PitbossError

# A cell of its own: the keys of others are in the same folder, and these are destroyed.
SCOPE = TenantScope(1, "aurora", "eu-9")
OPERATOR = Actor(ActorKind.OPERATOR, "ada")
PASSWORDS = Passwords()


@dataclass
class Town:
    """A cell with its players, as processes reach it."""

    plane: PlaneDatabase
    cell: Database
    settings: Settings

    async def add(self, name: str, **changes: Any) -> tuple[Player, Registration]:
        sent = make_registration(first_name=f"Canary{name}", last_name="Pérez", phone="+35699471147", **changes)
        return await register(self.cell, PASSWORDS, sent, SCOPE), sent

    async def close(self, player: Player) -> None:
        async with self.cell.transaction(SCOPE) as session:
            await accounts.close(
                session,
                SCOPE,
                player.public_id,
                holds_money=False,
                reason=StatusReason.PLAYER_REQUEST,
                actor=OPERATOR,
                origin=make_origin(),
            )

    async def erase(self, player: Player, *checks: ErasureCheck) -> ErasureOutcome:
        async with self.cell.transaction(SCOPE) as session:
            return await accounts.erase(
                session,
                SCOPE,
                make_ring(SCOPE.cell),
                player.public_id,
                policy_version="schedule 7",
                checks=checks,
                reason="subject_request",
                actor=OPERATOR,
                origin=make_origin(),
            )

    async def identity(self, player: Player, cell: Database | None = None) -> Identity:
        async with (cell or self.cell).transaction(SCOPE) as session:
            return await accounts.get_identity(session, SCOPE, make_ring(SCOPE.cell), player)

    async def events(
        self, event_type: str = "", *, reveal: bool = False, cell: Database | None = None
    ) -> list[RecordedEvent]:
        async with (cell or self.cell).transaction(SCOPE) as session:
            found = (await audit.list_events(session, SCOPE, EventFilter(type=event_type))).items
            return await audit.reveal_events(session, SCOPE, make_ring(SCOPE.cell), found) if reveal else list(found)

    async def rows(self, query: str, *values: Any) -> list[Any]:
        admin = await asyncpg.connect(self.plane.admin_url)
        try:
            return await admin.fetch(query, *values)
        finally:
            await admin.close()

    async def say(self, *words: str) -> Result:
        return await asyncio.to_thread(CliRunner(env=environment_of(self.settings)).invoke, cli, list(words))


@pytest.fixture
async def town(cell_database: PlaneDatabase) -> AsyncIterator[Town]:
    settings = msgspec.structs.replace(cell_settings(cell_database, "redis://127.0.0.1:1"), cell=SCOPE.cell)
    await store_directory(settings)
    await apply_policies(settings)
    async with open_cell(cell_database, cell=SCOPE.cell) as cell:
        yield Town(cell_database, cell, settings)


def address_in(event: RecordedEvent) -> Any:
    return next(change.after for change in event.changes if change.path == "identity.email")


async def held(session: AsyncSession, scope: TenantScope, subject_id: UUID) -> Sequence[Obstacle]:
    return (Obstacle("legal_hold"),)


async def test_every_personal_column_of_a_player_holds_what_only_the_players_key_opens(town: Town) -> None:
    (bo, _), (ann, sent) = await town.add("bo"), await town.add("ann")  # hers is not the first row
    ring = make_ring(SCOPE.cell)
    seen = 0
    for table in load_metadata("cell").tables.values():
        columns = [
            each.name for each in table.columns if class_of(table, each.name).kind in PERSONAL_KINDS - {"credential"}
        ]
        for column in columns:
            if (table.name, column) in NOT_SEALED:
                continue
            assert table.name == "player_identity", f"{table.name}.{column}: this test has no row of it"
            ((box,),) = await town.rows(f"select {column} from {table.name} where player_id = $1", ann.player_id)
            place = FieldPlace(ann.public_id, table.name, column, str(ann.player_id))
            async with town.cell.transaction(SCOPE) as session:
                (plain,) = await keys.open_fields(session, SCOPE, ring, [(place, box)])
                for other in (
                    FieldPlace(bo.public_id, table.name, column, str(ann.player_id)),
                    FieldPlace(ann.public_id, table.name, column, str(bo.player_id)),
                ):
                    with pytest.raises(PitbossError):
                        await keys.open_fields(session, SCOPE, ring, [(other, box)])
            assert plain.decode() == str(getattr(sent, column))
            assert plain not in box
            seen += 1
    assert seen == len(IDENTITY_COLUMNS)
    assert await town.identity(ann) == Identity(**{name: getattr(sent, name) for name in IDENTITY_COLUMNS})


async def test_an_address_is_found_by_a_digest_that_nobody_makes_without_the_tenants_key(town: Town) -> None:
    _, sent = await town.add("ann")
    ((digest,),) = await town.rows("select email_index from player_identity")
    comparable = normalise("exact.1", sent.email)
    assert digest not in {index_value(key, 1, EMAIL_INDEX, comparable) for key in (b"", bytes(32), comparable.encode())}
    assert len(digest) == 32
    # Nor does the table that counts attempts let anybody try out addresses.
    await sign_in(town.cell, PASSWORDS, sent.email, password="wrong horse battery", scope=SCOPE)
    kept = {key for (key,) in await town.rows("select key from attempt_throttle")}
    named = ("sign_in", "aurora", comparable), ("address", "192.0.2.1")
    guesses = {sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).digest()[:16] for parts in named}
    assert kept
    assert {len(key) for key in kept} == {16}
    assert not kept & guesses
    assert not isinstance(await sign_in(town.cell, PASSWORDS, sent.email.upper(), scope=SCOPE), SignInFailure)


async def test_the_log_keeps_personal_values_for_who_may_open_them_until_they_are_erased(town: Town) -> None:
    (ann, sent), (bo, others) = await town.add("ann"), await town.add("bo")
    stored = json.dumps([str(row) for row in await town.rows("select changes from audit_event")])
    assert sent.email not in stored
    sealed = {event.target_id: address_in(event) for event in await town.events("player.registered")}
    assert all(
        isinstance(value, Sealed) and sent.email.encode() not in b64decode(value.sealed) for value in sealed.values()
    )
    opened = {each.target_id: address_in(each) for each in await town.events("player.registered", reveal=True)}
    assert opened == {str(ann.public_id): sent.email, str(bo.public_id): others.email}
    await town.close(ann)
    await town.erase(ann)
    told = {each.target_id: address_in(each) for each in await town.events("player.registered", reveal=True)}
    assert told[str(ann.public_id)] == Sealed(sealed[str(ann.public_id)].sealed, "erased")
    assert told[str(bo.public_id)] == others.email

    listed = await town.say("audit", "list", "aurora", "--type", "player.registered")
    assert (listed.output.count("(sealed)"), others.email in listed.output) == (2, False), listed.output
    shown = await town.say("audit", "list", "aurora", "--type", "player.registered", "--reveal")
    assert ("(erased)" in shown.output, others.email in shown.output, sent.email in shown.output) == (True, True, False)
    (reveal, read) = await town.events("audit.viewed")
    modes = [change.after for event in (reveal, read) for change in event.changes if change.path == "access.mode"]
    assert modes == ["reveal", "read"]


async def test_who_was_erased_is_gone_and_the_account_stays(town: Town) -> None:
    (ann, sent), (bo, _) = await town.add("ann"), await town.add("bo")
    before = await town.identity(bo)
    await sign_in(town.cell, PASSWORDS, sent.email, scope=SCOPE)
    with pytest.raises(PlayerNotClosed):
        await town.erase(ann)
    assert (await town.identity(ann)).email == sent.email
    await town.close(ann)
    certificate = (await town.erase(ann)).certificate
    assert certificate is not None
    assert certificate.removed == {
        "player_identity": 1,
        "player_credential": 1,
        "player_session": 0,
        "password_reset": 0,
    }
    assert certificate.keys_destroyed == 1
    with pytest.raises(PlayerErased):
        await town.identity(ann)
    assert await sign_in(town.cell, PASSWORDS, sent.email, scope=SCOPE) is SignInFailure.WRONG
    async with town.cell.transaction(SCOPE) as session:
        assert (await accounts.get_player(session, SCOPE, ann.public_id)).player_id == ann.player_id
    assert (await town.erase(ann, held)).certificate == certificate
    (event,) = await town.events("player.erased")
    assert (event.target_id, event.reason) == (str(ann.public_id), "subject_request")
    assert "Canary" not in str(event)
    assert await town.identity(bo) == before
    again, _ = await town.add("again", email=sent.email)
    assert (await town.identity(again)).first_name == "Canaryagain"


async def test_one_erasure_covers_nobody_else_who_goes_with_it(town: Town) -> None:
    (ann, _), (bo, _) = await town.add("ann"), await town.add("bo")
    await town.close(ann)
    async with town.cell.transaction(SCOPE) as session:
        await accounts.erase(
            session,
            SCOPE,
            make_ring(SCOPE.cell),
            ann.public_id,
            policy_version="schedule 7",
            checks=(),
            reason="subject_request",
            actor=OPERATOR,
            origin=make_origin(),
        )
        gone = await store.delete_person(session, SCOPE, bo.player_id)
        await keys.restrict_subject(session, SCOPE, bo.public_id)
    assert gone["player_identity"] == 1
    found = {each.split(" (")[0].removeprefix("tenant 1: unexplained ") for each in await list_faults(town.plane)}
    rows = {f"player_credential {bo.player_id}", f"player_identity {bo.player_id}", f"subject_key {bo.public_id}:1"}
    assert rows <= found
    assert not {row.replace(str(bo.player_id), str(ann.player_id)) for row in rows} & found


async def test_what_the_law_keeps_is_restricted_and_not_erased(town: Town) -> None:
    ann, sent = await town.add("ann")
    await town.close(ann)
    outcome = await town.erase(ann, held)
    assert (outcome.certificate, [found.code for found in outcome.obstacles]) == (None, ["legal_hold"])
    with pytest.raises(SubjectRestricted):
        await town.identity(ann)
    async with town.cell.transaction(SCOPE) as session:
        kept = await accounts.get_identity(session, SCOPE, make_ring(SCOPE.cell), ann, despite_restriction=True)
    assert kept.email == sent.email
    (event,) = await town.events("player.erasure_refused")
    assert (event.outcome, event.changes[0].after) == ("denied", ["legal_hold"])
    (registered,) = await town.events("player.registered", reveal=True)
    assert address_in(registered).state == "restricted"
    # No law says from when the shipped packs let a player go, so the command refuses as well.
    refused = await town.say("subject", "erase", "aurora", str(ann.public_id), "--reason", "subject_request")
    assert (refused.exit_code, "kept: retention_unknown" in refused.output) == (1, True), refused.output
    assert (await town.erase(ann)).certificate is not None


async def test_values_are_put_right_and_the_log_has_both_sides_sealed(town: Town) -> None:
    ann, sent = await town.add("ann")

    async def correct(**values: str | date) -> None:
        async with town.cell.transaction(SCOPE) as session:
            await accounts.correct_identity(
                session, SCOPE, make_ring(SCOPE.cell), ann.public_id, values, actor=OPERATOR, origin=make_origin()
            )

    for wrong in ({"email": "x@example.com"}, {"country": "??"}, {"first_name": " "}):
        with pytest.raises(RegistrationInvalid):
            await correct(**wrong)
    await correct(first_name=" Anaïs ", birth_date=date(1991, 3, 1), country="MT")
    await correct(first_name="Anaïs")
    assert await town.identity(ann) == msgspec.structs.replace(
        Identity(**{name: getattr(sent, name) for name in IDENTITY_COLUMNS}),
        first_name="Anaïs",
        birth_date=date(1991, 3, 1),
    )
    (masked,) = await town.events("player.corrected")
    assert all(isinstance(side, Sealed) for change in masked.changes for side in (change.before, change.after))
    (event,) = await town.events("player.corrected", reveal=True)
    assert [(change.path, change.before, change.after) for change in event.changes] == [
        ("identity.first_name", "Canaryann", "Anaïs"),
        ("identity.birth_date", "1990-02-28", "1991-03-01"),
    ]


async def test_an_erasure_that_is_killed_before_its_commit_changes_nothing_and_is_done_by_the_next(town: Town) -> None:
    ann, sent = await town.add("ann")
    await town.close(ann)
    words = ",".join(f"{key.key_id}:{key.secret.hex()}" for key in town.plane.context_keys)
    arguments = (town.plane.app_url, words, str(key_folder()), SCOPE.cell, str(ann.public_id))
    program = (sys.executable, str(Path(__file__).with_name("killed.py")))
    done = await asyncio.to_thread(run_process, [*program, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "erased\n"), done.stderr
    assert (await town.identity(ann)).email == sent.email
    assert await town.events("player.erased") == []
    first = (await town.erase(ann)).certificate
    file = key_folder().parent / f"certificate-{ann.player_id}.json"
    # The command that is run again hands the certificate over that its first run could not.
    told = await town.say(
        "subject", "erase", "aurora", str(ann.public_id), "--reason", "again", "--certificate", str(file)
    )
    assert told.exit_code == 0, told.output
    paper = json.loads(file.read_text())
    assert first is not None
    assert paper["certificate"]["certificate_id"] == str(first.certificate_id)
    assert paper["event"]["type"] == "player.erased"
    assert "Canary" not in file.read_text()


async def test_the_job_changes_the_epoch_when_its_time_is_over_and_takes_up_what_was_cut_off(town: Town) -> None:
    ann, _ = await town.add("ann")
    (job,) = key_jobs(town.cell, make_ring(SCOPE.cell))

    async def work() -> list[EpochState]:
        async with town.cell.transaction(SCOPE) as session:
            await job.handler(session, SCOPE, {})
        async with town.cell.transaction(SCOPE) as session:
            return [each.state for each in await keys.list_epochs(session, SCOPE)]

    assert job.name == EPOCH_JOB
    assert await work() == [EpochState.OPEN]
    await town.rows("update key_epoch set started_at = now() - interval '30 days'")
    assert await work() == [EpochState.DESTROYED, EpochState.OPEN]
    assert await work() == [EpochState.DESTROYED, EpochState.OPEN]
    async with town.cell.transaction(SCOPE) as session:  # somebody begins one and is not heard of again
        await keys.begin_epoch(session, SCOPE, make_ring(SCOPE.cell))
    told = await town.say("keys", "epoch", "aurora")
    assert told.output == "a change that had begun is completed; destroyed: 2\n", told.output
    assert (await town.identity(ann)).first_name == "Canaryann"
    types = [event.type for event in await town.events() if event.type.startswith("keys.epoch")]
    ended = ["keys.epochs_destroyed", "keys.epochs_retired"]
    assert types == [*ended, *ended, "keys.epoch_started"]
    async with town.cell.transaction(SCOPE) as session:
        findings = (await reconcile(session, SCOPE)).findings
    ours = [
        each for each in findings if each.subject.startswith("key_epoch") and "update by pitboss_app" in each.detail
    ]
    assert ours == [], "each step of a change is told by an event"
    listed = await town.say("keys", "list", "aurora")
    assert [line.split()[2] for line in listed.output.splitlines()] == ["destroyed", "destroyed", "open"]


async def test_old_backups_give_nothing_back_once_the_epoch_has_changed(
    town: Town, database_server: DatabaseServer, tmp_path: Path
) -> None:
    people: dict[str, Player] = {}
    for name in ("ann", "bo", "cy"):
        people[name], _ = await town.add(name)
    copies: list[Backup] = []
    for number in range(3):  # before the erasure, just after it, and when somebody else had come
        with backup(town.plane, database_server, tmp_path, number) as copy:
            copies.append(copy)
        if number == 0:
            await town.close(people["ann"])
            await town.erase(people["ann"])
        if number == 1:
            people["di"], _ = await town.add("di")
    assert all(b"Canary" not in copy.file.read_bytes() for copy in copies)
    assert b"Canary".hex().encode() not in copies[0].file.read_bytes()
    assert await recover(town, copies[0], people) == {"ann", "bo", "cy"}

    told = await town.say("keys", "epoch", "aurora")
    assert told.output == "epoch 2 has begun; destroyed: 1\n", told.output
    for copy in copies:
        assert await recover(town, copy, people) == set()
    for name in ("bo", "cy", "di"):
        assert (await town.identity(people[name])).first_name == f"Canary{name}"
    closed = await town.say("subject", "certificate", "aurora", str(people["ann"].public_id))
    assert json.loads(closed.output)["certificate"]["backups_closed_at"] is not None

    # With today's rows of keys in it, an old copy opens who was not erased, and nobody else.
    copy_keys(town.plane, today := tmp_path / "keys.sql")
    assert await recover(town, copies[0], people, today) == {"bo", "cy"}


async def recover(town: Town, copy: Backup, people: Mapping[str, Player], key_file: Path | None = None) -> set[str]:
    """Return whose data come back from a restored copy with today's key service: by account, or by the log."""
    found: set[str] = set()
    async with copy.restored() as old:
        if key_file is not None:
            put_keys(old, key_file)
        async with open_cell(old, cell=SCOPE.cell) as cell:
            for name, player in people.items():
                try:
                    async with cell.transaction(SCOPE) as session:
                        ring = make_ring(SCOPE.cell)
                        await accounts.get_identity(session, SCOPE, ring, player, despite_restriction=True)
                except PitbossError:
                    continue
                found.add(name)
            opened = await town.events("player.registered", reveal=True, cell=cell)
            by_log = {event.target_id for event in opened if isinstance(address_in(event), str)}
    assert by_log == {str(people[name].public_id) for name in found}
    return found
