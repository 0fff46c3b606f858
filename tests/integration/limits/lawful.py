"""The web of a cell in which both shipped packs may run, for a tenant with one licence or several."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from tests.factories.databases import PlaneDatabase
from tests.factories.players import AURORA, open_cell
from tests.factories.web import ROOT, WebUnderTest, apply_policies, cell_settings, store_directory, with_packs

from pitboss.bootstrap import open_cell_web
from pitboss.ledger import service as ledger
from pitboss.platform.telemetry import Metrics
from pitboss.policy.contracts import TenantPolicy

BRAZIL_PACK = '\n[[packs]]\ndistribution = "pitboss-pack-br-spa"\nversions = ">=0.1,<0.2"\n'


@asynccontextmanager
async def open_lawful(
    database: PlaneDatabase,
    redis_url: str,
    folder: Path,
    packs: Sequence[str],
    policy: TenantPolicy,
) -> AsyncIterator[WebUnderTest]:
    """Open the web of a cell whose first tenant has these licences, each with a brand (see `with_packs`)."""
    cell_file = folder / "eu-1.toml"
    cell_file.write_text((ROOT / "deploy/cells/eu-1.toml").read_text() + BRAZIL_PACK)
    settings = msgspec.structs.replace(cell_settings(database, redis_url), cell_file=cell_file)
    content = with_packs(*packs)
    await store_directory(settings, content)
    await apply_policies(settings, policy, content)
    async with open_cell(database) as cell, cell.transaction(AURORA) as session:
        await ledger.open_house_accounts(session, AURORA, ["EUR", "BRL"], ["softswiss"])
    metrics = Metrics()
    async with open_cell_web(settings, metrics) as front:
        yield WebUnderTest(front, settings, metrics)
