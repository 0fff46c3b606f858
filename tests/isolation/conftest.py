"""A seeded cell database for the probes, and the figures of the suite."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.factories.databases import DatabaseServer, PlaneDatabase
from tests.factories.figures import FOLDER, merge_figures, write_figures
from tests.isolation.probes import Arena, Report, open_arena

from pitboss.platform.embedded import PostgresServer

FIGURES = FOLDER / "isolation.json"


class Figures:
    """What the tests of this folder measured, written when the last one has ended."""

    def __init__(self) -> None:
        self.reports: dict[str, list[Report]] = {"sql": [], "http": [], "inside": []}
        self.sabotages: dict[str, bool] = {}

    def new_report(self, kind: str) -> Report:
        report = Report()
        self.reports[kind].append(report)
        return report

    def values(self) -> dict[str, int]:
        values: dict[str, int] = {}
        for kind, reports in self.reports.items():
            if reports:
                values[f"{kind}_probes"] = sum(report.probes for report in reports)
                values[f"{kind}_leaks"] = sum(len(report.leaks) for report in reports)
        if self.sabotages:
            caught = sum(self.sabotages.values())
            values["sabotages"] = len(self.sabotages)
            values["sabotages_caught_percent"] = 100 * caught // len(self.sabotages)
        return values

    def totals(self) -> dict[str, int]:
        """Return the sums of this run alone; what it left out counts as not done."""
        reports = [report for kind in self.reports.values() for report in kind]
        return {
            "probes": sum(report.probes for report in reports),
            "leaks": sum(len(report.leaks) for report in reports),
            "sabotages": len(self.sabotages),
            "sabotages_caught": sum(self.sabotages.values()),
            "sabotages_missed": len(self.sabotages) - sum(self.sabotages.values()),
        }


@pytest.fixture(scope="session")
def figures() -> Iterator[Figures]:
    collected = Figures()
    yield collected
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    known |= collected.values()
    known["leaks"] = sum(known.get(f"{kind}_leaks", 0) for kind in collected.reports)
    write_figures("isolation", known)
    merge_figures("probes", collected.totals())


@pytest.fixture(scope="session")
def neighbour_server(postgres_server: PostgresServer) -> DatabaseServer:
    """Another cell's databases: its own logins, passwords and keys."""
    return DatabaseServer(postgres_server, realm="neighbour")


@pytest.fixture
def neighbour_database(neighbour_server: DatabaseServer) -> Iterator[PlaneDatabase]:
    """A migrated database of another cell."""
    with neighbour_server.clone("cell") as database:
        yield database


@pytest.fixture
def twin_database(database_server: DatabaseServer) -> Iterator[PlaneDatabase]:
    """Another database of the same cell, which no deployment has."""
    with database_server.clone("cell") as database:
        yield database


@pytest.fixture
async def arena(cell_database: PlaneDatabase) -> AsyncIterator[Arena]:
    """Two tenants with a row in every table, and a third without any."""
    async with open_arena(cell_database) as opened:
        yield opened
