"""What a process tells its lanes of tenants' policies: as soon as it knows, and nothing that it does not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories.databases import PlaneDatabase
from tests.factories.packs import load
from tests.factories.players import AURORA, JADE, make_origin, open_cell

from pitboss.kernel.scope import Actor, ActorKind
from pitboss.plughost.contracts import LoadedPack
from pitboss.policy.contracts import PlayLaw, SpendOrder, TenantFigures, TenantPolicy
from pitboss.policy.errors import LicenceUnknown, PackNotLoaded
from pitboss.policy.runtime import Policies
from pitboss.policy.service import apply_policy

TESTER = Actor(ActorKind.DEPLOYMENT, "tester")


MALTA = {"mt_mga": load("mt_mga")}
BOTH = {**MALTA, "br_spa": load("br_spa")}


async def put(session: AsyncSession, packs: Mapping[str, LoadedPack], **licences: TenantFigures) -> None:
    policy = TenantPolicy(licences=licences)
    await apply_policy(session, AURORA, policy, packs, actor=TESTER, origin=make_origin())


def known(policies: Policies) -> dict[tuple[int, str], str]:
    return {key: law.time_zone for key, law in policies.laws.items()}


async def test_lanes_learn_of_a_policy_from_whoever_asks_first(cell_database: PlaneDatabase) -> None:
    policies = Policies(MALTA)
    async with open_cell(cell_database) as cell:
        async with cell.transaction(AURORA) as session:
            await put(session, MALTA)
            await policies.get(session, AURORA, "mt_mga")
        assert known(policies) == {(AURORA.tenant_id, "mt_mga"): "Europe/Malta"}
        async with cell.transaction(JADE) as session:
            assert await policies.find(session, JADE, "mt_mga") is None
            assert await policies.renew(session, JADE) == []
        assert known(policies) == {(AURORA.tenant_id, "mt_mga"): "Europe/Malta"}
    policies.keep_only({JADE.tenant_id})
    assert policies.laws == {}


async def test_each_licence_of_a_tenant_is_known_by_itself(cell_database: PlaneDatabase) -> None:
    malta, brazil = (AURORA.tenant_id, "mt_mga"), (AURORA.tenant_id, "br_spa")
    policies, half = Policies(BOTH), Policies(MALTA)
    async with open_cell(cell_database) as cell, cell.transaction(AURORA) as session:
        await put(session, BOTH, mt_mga=TenantFigures(minimum_age_years=23))
        found = {policy.licence: policy.minimum_age_years for policy in await policies.renew(session, AURORA)}
        assert found == {"mt_mga": 23, "br_spa": 18}
        assert known(policies) == {malta: "Europe/Malta", brazil: "America/Sao_Paulo"}
        # A process without one of the packs knows the other, and says so of this one.
        assert [policy.licence for policy in await half.renew(session, AURORA)] == ["mt_mga"]
        assert known(half) == {malta: "Europe/Malta"}
        with pytest.raises(PackNotLoaded):
            await half.get(session, AURORA, "br_spa")
        # Nobody is under no law where there are licences, and none is chosen for anybody.
        with pytest.raises(LicenceUnknown):
            await policies.get(session, AURORA, "")
        # A licence that is given up is forgotten.
        await put(session, MALTA)
        await policies.renew(session, AURORA)
        assert known(policies) == {malta: "Europe/Malta"}
        assert await policies.find(session, AURORA, "br_spa") is None


async def test_a_law_that_lanes_knew_is_forgotten_with_the_policy(cell_database: PlaneDatabase) -> None:
    policies = Policies(BOTH)
    policies.laws[AURORA.tenant_id, "mt_mga"] = PlayLaw("Europe/Malta", SpendOrder.REAL_FIRST)
    policies.laws[JADE.tenant_id, ""] = PlayLaw("UTC", SpendOrder.REAL_FIRST)
    async with open_cell(cell_database) as cell, cell.transaction(AURORA) as session:
        assert await policies.renew(session, AURORA) == []
    assert known(policies) == {(JADE.tenant_id, ""): "UTC"}
