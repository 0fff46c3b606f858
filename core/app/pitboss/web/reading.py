"""Reads of what is held of players: each leaves an audit event in the transaction that reads, before anything leaves.

A handler says what it shows (`reads="account money"`, sorts of `pitboss.kernel.classes`) and asks for `reading`.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, cast, get_args, get_type_hints

import msgspec
from litestar import Request
from litestar.di import Provide
from sqlalchemy.ext.asyncio import AsyncSession

from pitboss.audit.contracts import Access
from pitboss.audit.service import record_access
from pitboss.kernel.classes import SORTS, Sort
from pitboss.kernel.scope import Actor, Origin, TenantScope
from pitboss.web.security import provide_actor, provide_origin

OPTION: Final = "reads"
"""The option of a handler that names the sorts of what it shows."""
_PAGING: Final = frozenset({"cursor", "page_size"})


class Reading:
    """Who reads, from where, and what the handler shows."""

    def __init__(
        self, sorts: tuple[Sort, ...], fields: frozenset[str], query: Mapping[str, str], actor: Actor, origin: Origin
    ) -> None:
        self._sorts = sorts
        self._fields = fields
        self._query = query
        self._actor = actor
        self._origin = origin

    async def record(
        self, session: AsyncSession, tenant: TenantScope, event_type: str, target_id: str, ids: Iterable[str]
    ) -> None:
        """Write the event; `ids` are those of the rows that are shown."""
        access = Access("read", self._sorts, tuple(ids), self._fields, self._query)
        await record_access(session, tenant, event_type, target_id, access, actor=self._actor, origin=self._origin)


def read_sorts(option: str) -> tuple[Sort, ...]:
    """Return the sorts that a handler names; raise `ValueError` for one that there is not, or for none."""
    names = tuple(option.split())
    if not names or not set(names) <= set(SORTS):
        raise ValueError(f"no sorts of columns: {option!r}")
    return cast("tuple[Sort, ...]", names)


@cache
def list_fields(answer: Any) -> frozenset[str]:
    """Return the names of the fields of an answer, of structs inside of it too, that are no structs themselves."""
    found: set[str] = set()
    waiting, seen = [answer], set[Any]()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        waiting += get_args(value)
        if isinstance(value, type) and issubclass(value, msgspec.Struct):
            for name, hint in get_type_hints(value).items():
                if name in value.__struct_fields__:
                    inner = _list_structs(hint)
                    waiting += inner
                    found |= set() if inner else {name}
    return frozenset(found)


def _list_structs(hint: Any) -> list[Any]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [found for part in get_args(hint) for found in _list_structs(part)]


def provide_reading(request: Request[Any, Any, Any]) -> Reading:
    """Return the reading of a handler that says what it shows."""
    handler = request.route_handler
    answer = handler.parsed_fn_signature.return_type.annotation
    query = {name: str(value) for name, value in request.query_params.items() if name not in _PAGING}
    query |= {name: str(value) for name, value in request.path_params.items()}
    return Reading(
        read_sorts(str(handler.opt[OPTION])),
        list_fields(answer),
        query,
        provide_actor(request),
        provide_origin(request),
    )


READING: Final = {"reading": Provide(provide_reading, sync_to_thread=False)}
"""What every handler of the API can ask for by name, beside `API_DEPENDENCIES`."""
