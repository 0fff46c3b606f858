"""Roles and databases, made by an administrator's login; safe to run again at any time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import asyncpg
import msgspec

from pitboss.migrations.schema import GROUP_ROLES
from pitboss.platform.db import parse_url
from pitboss_sdk.errors import ErrorKind, PitbossError


class ProvisioningRefused(PitbossError):
    code = "migrations.provisioning_refused"
    kind = ErrorKind.INVALID


BACKUP_ROLE: Final = "pitboss_backup"
"""Has no right at all: it tells that a login is ours. The right to replicate cannot be had from a group."""


class Login(msgspec.Struct, frozen=True):
    """A login of one database and the group role whose rights it has."""

    name: str
    password: str
    group: str


def logins_from_urls(urls: Mapping[str, str]) -> tuple[str, list[Login]]:
    """Return the database and logins that `urls` (group role → URL) name; all must name one database."""
    databases: set[str] = set()
    logins: list[Login] = []
    for group, url in urls.items():
        parsed = parse_url(url)
        if not (parsed.database and parsed.username and parsed.password):
            raise ProvisioningRefused(f"the URL of {group} needs a user, a password and a database")
        databases.add(parsed.database)
        logins.append(Login(parsed.username, str(parsed.password), group))
    if len(databases) != 1:
        raise ProvisioningRefused(f"the URLs name different databases: {', '.join(sorted(databases))}")
    return databases.pop(), logins


async def provision(admin_url: str, urls: Mapping[str, str], backup_url: str | None = None) -> str:
    """Make group roles, logins and the database that `urls` name; return the database's name.

    `backup_url` names a login that may replicate the cluster, with every row in it, and connect to no database.

    A login holds no right that its group does not, and connects to its own database only, as far as this is ours
    to decide: see `list_open_databases`.
    """
    database, logins = logins_from_urls(urls)
    admin = await asyncpg.connect(parse_url(admin_url).render_as_string(hide_password=False), timeout=10)
    try:
        async with admin.transaction():
            await admin.execute("select pg_advisory_xact_lock(7220251)")
            for group in ("pitboss_owner", "pitboss_ctx", *GROUP_ROLES):
                await _ensure_role(admin, group, "nologin")
            for login in logins:
                await _ensure_login(admin, login)
            if backup_url is not None:
                await _ensure_backup_login(admin, backup_url)
            await _close_maintenance_databases(admin)
        if not await admin.fetchval("select true from pg_database where datname = $1", database):
            with suppress(asyncpg.DuplicateDatabaseError):
                await admin.execute(f"create database {_quoted(database)} owner pitboss_owner template template0")
        await admin.execute(f"revoke all on database {_quoted(database)} from public")
        for login in logins:
            await admin.execute(f"grant connect on database {_quoted(database)} to {_quoted(login.name)}")
    finally:
        await admin.close()
    await _prepare_schemas(parse_url(admin_url).set(database=database).render_as_string(hide_password=False))
    return database


async def list_open_databases(admin_url: str, urls: Mapping[str, str]) -> list[str]:
    """Return the databases, beside their own, that the logins of `urls` may connect to because everybody may."""
    database, logins = logins_from_urls(urls)
    admin = await asyncpg.connect(parse_url(admin_url).render_as_string(hide_password=False), timeout=10)
    try:
        rows = await admin.fetch(
            "select datname::text from pg_database d where datallowconn and datname <> $1 and exists"
            " (select from unnest($2::text[]) l where has_database_privilege(l, d.oid, 'connect')) order by 1",
            database,
            [login.name for login in logins],
        )
    finally:
        await admin.close()
    return [row["datname"] for row in rows]


async def _close_maintenance_databases(admin: asyncpg.Connection) -> None:
    """Take everybody's right to connect to the server's own databases, unless somebody else might rely on it.

    What everybody may cannot be taken from single logins. On a server with other users than superusers and our
    logins nothing is changed, nor in a database that belongs to others.
    """
    if await admin.fetchval(_OTHER_USERS, ["pitboss_owner", "pitboss_ctx", BACKUP_ROLE, *GROUP_ROLES]):
        return
    for row in await admin.fetch(_MAINTENANCE):
        await admin.execute(f"revoke connect, temporary on database {_quoted(row['datname'])} from public")


_OTHER_USERS = """
select exists (select from pg_roles r where r.rolcanlogin and not r.rolsuper and r.rolname <> current_user
    and not exists (select from pg_auth_members m join pg_roles g on g.oid = m.roleid
        where m.member = r.oid and g.rolname = any($1::text[])))
"""
_MAINTENANCE = """
select datname from pg_database where datname in ('postgres', 'template1') and pg_has_role(datdba, 'usage')
"""


async def _ensure_role(admin: asyncpg.Connection, name: str, options: str) -> None:
    if not await admin.fetchval("select true from pg_roles where rolname = $1", name):
        await admin.execute(f"create role {_quoted(name)}")
    await admin.execute(
        f"alter role {_quoted(name)} {options} nosuperuser nocreatedb nocreaterole nobypassrls noreplication"
    )


async def _ensure_backup_login(admin: asyncpg.Connection, url: str) -> None:
    parsed = parse_url(url)
    if not (parsed.username and parsed.password):
        raise ProvisioningRefused("the URL of the login for backups needs a user and a password")
    await _ensure_role(admin, BACKUP_ROLE, "nologin")
    await _ensure_role(admin, parsed.username, "login inherit")
    password = await admin.fetchval("select quote_literal($1::text)", str(parsed.password))
    await admin.execute(f"alter role {_quoted(parsed.username)} replication password {password}")
    await admin.execute(f"grant {BACKUP_ROLE} to {_quoted(parsed.username)}")


async def _ensure_login(admin: asyncpg.Connection, login: Login) -> None:
    deploys = login.group == "pitboss_migrate"
    await _ensure_role(admin, login.name, "login noinherit" if deploys else "login inherit")
    password = await admin.fetchval("select quote_literal($1::text)", login.password)
    await admin.execute(f"alter role {_quoted(login.name)} password {password}")
    for group in ("pitboss_owner", "pitboss_ctx") if deploys else (login.group,):
        await admin.execute(f"grant {_quoted(group)} to {_quoted(login.name)}")


async def _prepare_schemas(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(
                "alter schema public owner to pitboss_owner;"
                "create schema if not exists ctx authorization pitboss_ctx;"
                "revoke all on schema public, ctx from public;"
                f"grant usage on schema public to {', '.join(GROUP_ROLES)};"
                f"grant usage on schema ctx to pitboss_owner, {', '.join(GROUP_ROLES)}"
            )
    finally:
        await connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
