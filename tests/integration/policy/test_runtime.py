"""What a process tells its lanes of tenants' policies: as soon as it knows, and nothing that it does not."""

from __future__ import annotations

from tests.factories.databases import PlaneDatabase
from tests.factories.packs import load
from tests.factories.players import AURORA, JADE, make_origin, open_cell

from pitboss.kernel.scope import Actor, ActorKind
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.runtime import Policies
from pitboss.policy.service import apply_policy

TESTER = Actor(ActorKind.DEPLOYMENT, "tester")


async def test_lanes_learn_of_a_policy_from_whoever_asks_first(cell_database: PlaneDatabase) -> None:
    malta = {"mt_mga": load("mt_mga")}
    policies = Policies(malta)
    async with open_cell(cell_database) as cell:
        async with cell.transaction(AURORA) as session:
            await apply_policy(session, AURORA, TenantPolicy(), malta, actor=TESTER, origin=make_origin())
            await policies.get(session, AURORA)
        assert policies.zones == {AURORA.tenant_id: "Europe/Malta"}
        assert policies.spend_orders.keys() == {AURORA.tenant_id}
        async with cell.transaction(JADE) as session:
            assert await policies.find(session, JADE) is None
            await policies.renew(session, JADE)
        assert policies.zones == {AURORA.tenant_id: "Europe/Malta"}
        both = {**malta, "br_spa": load("br_spa")}
        async with cell.transaction(AURORA) as session:
            await apply_policy(session, AURORA, TenantPolicy(), both, actor=TESTER, origin=make_origin())
            await policies.renew(session, AURORA)
    assert policies.zones == policies.spend_orders == {}
