"""The web of a cell in which both shipped packs may run, for a tenant with one licence or several."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from tests.factories.databases import PlaneDatabase
from tests.factories.packs import load
from tests.factories.players import AURORA, make_origin, open_cell
from tests.factories.web import CONTENT, ROOT, WebUnderTest, apply_policies, cell_settings, store_directory

from pitboss.bootstrap import open_cell_web
from pitboss.directory.contracts import DirectoryContent
from pitboss.kernel.scope import Actor, ActorKind
from pitboss.ledger import service as ledger
from pitboss.platform.telemetry import Metrics
from pitboss.policy.contracts import TenantPolicy
from pitboss.policy.service import apply_policy

DEPLOYMENT = Actor(ActorKind.DEPLOYMENT, "tests")
BRAZIL_PACK = '\n[[packs]]\ndistribution = "pitboss-pack-br-spa"\nversions = ">=0.1,<0.2"\n'


@asynccontextmanager
async def open_lawful(
    database: PlaneDatabase,
    redis_url: str,
    folder: Path,
    packs: Sequence[str],
    policy: TenantPolicy,
    content: DirectoryContent = CONTENT,
) -> AsyncIterator[WebUnderTest]:
    """Open the web of a cell whose first tenant has these licences."""
    cell_file = folder / "eu-1.toml"
    cell_file.write_text((ROOT / "deploy/cells/eu-1.toml").read_text() + BRAZIL_PACK)
    settings = msgspec.structs.replace(cell_settings(database, redis_url), cell_file=cell_file)
    await store_directory(settings, content)
    await apply_policies(settings, content=content)
    async with open_cell(database) as cell, cell.transaction(AURORA) as session:
        licences = {code: load(code) for code in packs}
        await apply_policy(session, AURORA, policy, licences, actor=DEPLOYMENT, origin=make_origin())
        await ledger.open_house_accounts(session, AURORA, ["EUR", "BRL"], ["softswiss"])
    metrics = Metrics()
    async with open_cell_web(settings, metrics) as front:
        yield WebUnderTest(front, settings, metrics)
