"""Whether the database believes the key with which this process signs tenant contexts.

Under a key that it does not believe every table looks empty and nothing fails, so this must be asked for itself.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from pitboss.platform.db import IS_CONTEXT_BELIEVED, Database, DatabaseUnavailable, is_unavailable
from pitboss_sdk.errors import ErrorKind, PitbossError

_NOBODY: Final = 0
"""No tenant has this number."""
PROBLEM: Final = (
    "the database does not believe the first key of PITBOSS_CONTEXT_KEYS, so no row would be seen;"
    " `pitboss db migrate cell` makes it believe those of its own settings"
)


class ContextRefused(PitbossError):
    """The database does not believe the key that signs tenant contexts; whatever was read would be nothing."""

    code = "platform.context_refused"
    kind = ErrorKind.UNAVAILABLE


async def find_context_problem(database: Database) -> str:
    """Return why contexts of this process open nothing, or an empty string; raise where the database is away."""
    async with database.tenants_transaction([_NOBODY]) as session:
        believed = await session.scalar(text(IS_CONTEXT_BELIEVED))
    return "" if believed else PROBLEM


async def demand_context(database: Database) -> None:
    """Raise `ContextRefused` where contexts of this process open nothing, `DatabaseUnavailable` where it is away."""
    try:
        problem = await find_context_problem(database)
    except Exception as error:
        if not is_unavailable(error):
            raise
        raise DatabaseUnavailable(f"the database did not answer ({type(error).__name__})") from None
    if problem:
        raise ContextRefused(problem)
