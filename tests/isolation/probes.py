"""Runs attacks on a live database as each login, and judges how they end."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from tests.factories.databases import GROUPS, PlaneDatabase
from tests.isolation.attacks import Attack, read_attacks, write_attacks
from tests.isolation.catalog import Relation, read_relations
from tests.isolation.seeding import A, B, fingerprint, marks_of, seed

from pitboss.platform.db import ContextSigner, parse_url

LOGINS = tuple(login for login in GROUPS["cell"] if login != "pitboss_migrate")
"""Every login of a cell's processes: a new one is probed from its first day."""


@dataclass
class Report:
    """What was tried and what came through."""

    probes: int = 0
    leaks: list[str] = field(default_factory=list)

    def count(self, what: str, leak: str = "") -> None:
        self.probes += 1
        if leak:
            self.leaks.append(f"{what}: {leak}")

    def leaks_of(self, *words: str) -> list[str]:
        return [leak for leak in self.leaks if all(word in leak for word in words)]


@dataclass(frozen=True)
class Ending:
    """How a statement ended: an error or rows, without the values that were asked for."""

    error: str
    rows: tuple[str, ...]
    raw: bytes

    def like(self) -> tuple[str, tuple[str, ...]]:
        return self.error, self.rows


class Arena:
    """A seeded cell database, as an administrator and as each login see it."""

    def __init__(self, database: PlaneDatabase, admin: asyncpg.Connection, relations: list[Relation]) -> None:
        self.database = database
        self.admin = admin
        self.relations = relations
        self.signer = ContextSigner(database.context_keys)
        self.marks = marks_of(B, relations)

    @asynccontextmanager
    async def connect(self, login: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.database.urls[login])
        try:
            yield connection
        finally:
            await connection.close()

    async def enter(self, connection: asyncpg.Connection, *tenants: int) -> None:
        """Sign a context for this transaction as the application does."""
        token = self.signer.sign(tenants, connection.get_server_pid())
        await connection.execute("select set_config('pitboss.ctx', $1, true)", token)

    def find_marks(self, answer: bytes) -> list[str]:
        return [mark.decode() for mark in self.marks if mark in answer]

    async def fingerprint_b(self) -> dict[str, str]:
        return await fingerprint(self.admin, self.relations, B)


@asynccontextmanager
async def open_arena(database: PlaneDatabase) -> AsyncIterator[Arena]:
    """Seed a database and open it for probes."""
    admin = await asyncpg.connect(parse_url(database.admin_url).render_as_string(hide_password=False))
    try:
        relations = await read_relations(admin)
        await seed(admin, relations)
        yield Arena(database, admin, relations)
    finally:
        await admin.close()


async def read_again(arena: Arena) -> None:
    """Look at the catalog once more: something was added to it."""
    arena.relations = await read_relations(arena.admin)


async def run_statement(connection: asyncpg.Connection, statement: str, parameters: tuple[Any, ...]) -> Ending:
    """Run one statement in a savepoint and return how it ended, with every byte that came back."""
    raw = bytearray()

    async def take(data: bytes) -> None:
        raw.extend(data)

    try:
        async with connection.transaction():
            if statement.startswith("copy "):
                query = re.sub(r"^copy (.*) to stdout$", r"\1", statement)
                source = query[1:-1] if query.startswith("(") else f"table {query}"
                if query.startswith("("):
                    await connection.copy_from_query(source, output=take)
                else:
                    await connection.copy_from_table(query, output=take)
                return Ending("", (raw.decode(errors="replace"),), bytes(raw))
            records = await connection.fetch(statement, *parameters)
    except asyncpg.PostgresError as error:
        said = f"{error} {error.detail or ''} {error.hint or ''} {getattr(error, 'context', '') or ''}"
        return Ending(f"{error.sqlstate} {_neutral(str(error))}", (), said.encode())
    rows = tuple(repr(dict(record)) for record in records)
    for record in records:
        for value in record.values():
            raw.extend(value if isinstance(value, bytes) else str(value).encode())
            raw.extend(b"\0")
    return Ending("", rows, bytes(raw))


async def run_and_undo(connection: asyncpg.Connection, statement: str, parameters: tuple[Any, ...]) -> Ending:
    """Run one statement and take back what it did, so that the next finds what it found."""
    savepoint = connection.transaction()
    await savepoint.start()
    ending = await run_statement(connection, statement, parameters)
    await savepoint.rollback()
    return ending


def _neutral(message: str) -> str:
    """Return an error's message without what may be a value of the question."""
    return re.sub(r"\([^)]*\)|\d{6,}|[0-9a-f]{8}-[0-9a-f-]{27}|canary\dx[0-9a-f]+", "…", message)


async def try_attack(arena: Arena, connection: asyncpg.Connection, attack: Attack) -> str:
    """Return what an attack under A's context brought to light, or nothing."""
    ending = await run_and_undo(connection, attack.statement, attack.parameters)
    asked = b"\0".join(_as_bytes(value) for value in attack.parameters)
    # What the attacker typed comes back in an error or in A's own row; that tells nothing.
    marks = [mark for mark in arena.find_marks(ending.raw) if mark.encode() not in asked]
    if marks:
        return f"answer holds {marks[0]}"
    if any(re.search(rf"'tenant_id': {B}\b", row) for row in ending.rows):
        return "answer holds a row of the other tenant"
    if attack.kind == "plant and see" and not ending.error:
        return "a row was planted"
    if attack.twin_call is not None:
        twin = await run_and_undo(connection, *attack.twin_call)
        mine, other = (_without_values(end, attack) for end in (ending, twin))
        if mine != other:
            return f"{mine!r:.150} where nothing is there: {other!r:.150}"
    return ""


def _without_values(ending: Ending, attack: Attack) -> tuple[str, Any]:
    # Rows that come back after an insert hold what was put in; only their number can tell something.
    counted = attack.kind in {"same key", "plant and see", "refer", "upsert over"}
    return ending.error, len(ending.rows) if counted else ending.rows


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


async def probe_relations(
    arena: Arena, report: Report, logins: Iterable[str] = LOGINS, only: Iterable[str] = ()
) -> None:
    """Attack every relation as every login from A's context; each statement is undone, B's rows are compared."""
    wanted = set(only)
    before = await arena.fingerprint_b()
    for login in logins:
        async with arena.connect(login) as connection:
            for relation in arena.relations:
                if wanted and relation.name not in wanted:
                    continue
                attacks = [*read_attacks(relation), *write_attacks(relation)]
                for attack in attacks:
                    transaction = connection.transaction()
                    await transaction.start()
                    await arena.enter(connection, A)
                    leak = await try_attack(arena, connection, attack)
                    await transaction.rollback()
                    report.count(f"{login} {relation.name} {attack.kind}", leak)
                await _commit_writes(arena, connection, relation, report, login)
    after = await arena.fingerprint_b()
    for table, rows in before.items():
        report.count(f"rows of {table}", "" if rows == after[table] else "were changed by the other tenant")


async def _commit_writes(
    arena: Arena, connection: asyncpg.Connection, relation: Relation, report: Report, login: str
) -> None:
    """Run the writes that aim at B's rows once more and commit, so that a look afterwards shows what they did."""
    for attack in write_attacks(relation):
        if attack.kind not in {"update", "delete", "pull", "plant", "upsert", "merge"}:
            continue
        async with connection.transaction():
            await arena.enter(connection, A)
            ending = await run_statement(connection, attack.statement, attack.parameters)
        planted = attack.kind == "plant" and not ending.error
        report.count(f"{login} {relation.name} {attack.kind} for good", "a row was planted" if planted else "")
