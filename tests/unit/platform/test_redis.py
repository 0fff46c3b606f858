"""Keys of Redis begin with cell and tenant, and no two different things share one."""

from __future__ import annotations

import pytest

from pitboss.kernel.scope import ForeignCell, TenantScope
from pitboss.platform.redis import CellRedis

AURORA = TenantScope(1, "aurora", "eu-1")


@pytest.fixture
def redis() -> CellRedis:
    return CellRedis("redis://127.0.0.1:1/0", "eu-1")


def test_a_key_names_cell_tenant_and_room(redis: CellRedis) -> None:
    assert redis.key(AURORA, "accounts", "throttle", "abc") == "eu-1:aurora:accounts:throttle:abc"
    assert redis.cell_key("platform", "processes") == "eu-1:-:platform:processes"


@pytest.mark.parametrize("part", ["a:b", ""])
def test_a_part_cannot_stand_for_two(redis: CellRedis, part: str) -> None:
    with pytest.raises(ValueError, match="part"):
        redis.key(AURORA, "accounts", part)
    with pytest.raises(ValueError, match="part"):
        redis.cell_key("accounts", part)


def test_no_tenant_passes_for_none(redis: CellRedis) -> None:
    with pytest.raises(ValueError, match="no tenant"):
        redis.key(TenantScope(1, "-", "eu-1"), "accounts")


def test_another_cells_tenant_is_refused(redis: CellRedis) -> None:
    with pytest.raises(ForeignCell):
        redis.key(TenantScope(1, "aurora", "br-1"), "accounts")


async def test_an_absent_server_is_no_exception(redis: CellRedis) -> None:
    assert not await redis.is_alive()
    await redis.close()
