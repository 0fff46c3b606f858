"""Real servers for the session: PostgreSQL and Redis on free ports, in a folder that no other session uses."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.factories.databases import DatabaseServer, PlaneDatabase

from pitboss.platform.embedded import PostgresServer, RedisServer

TEST_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}
"""Ordinary tests do not survive a power cut; tests of durability start a server of their own."""


# Taken out of the environment: every program under test reads what begins with PITBOSS_ as its settings.
WITHOUT_BROWSER = os.environ.pop("PITBOSS_WITHOUT_BROWSER", "") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a browser only where that was said; without one, such a test fails."""
    if WITHOUT_BROWSER:
        for item in items:
            if item.get_closest_marker("browser") is not None:
                item.add_marker(pytest.mark.skip(reason="PITBOSS_WITHOUT_BROWSER=1: not run"))


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    # Not pytest's own: the OS user of PostgreSQL has to pass through the parents.
    with tempfile.TemporaryDirectory(prefix="pitboss-tests-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(server_folder / "postgres", options=TEST_OPTIONS)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def redis_server(server_folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(server_folder / "redis")
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def database_server(postgres_server: PostgresServer) -> DatabaseServer:
    return DatabaseServer(postgres_server)


@pytest.fixture
def cell_database(database_server: DatabaseServer) -> Iterator[PlaneDatabase]:
    """A migrated cell database for one test."""
    with database_server.clone("cell") as database:
        yield database


@pytest.fixture
def control_database(database_server: DatabaseServer) -> Iterator[PlaneDatabase]:
    """A migrated control database for one test."""
    with database_server.clone("control") as database:
        yield database


@pytest.fixture(scope="module")
def module_cell_database(database_server: DatabaseServer) -> Iterator[PlaneDatabase]:
    """A migrated cell database that the tests of one module share."""
    with database_server.clone("cell") as database:
        yield database


@pytest.fixture(scope="module")
def module_control_database(database_server: DatabaseServer) -> Iterator[PlaneDatabase]:
    """A migrated control database that the tests of one module share."""
    with database_server.clone("control") as database:
        yield database


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """An empty Redis for one test."""
    import redis

    with redis.Redis.from_url(redis_server.url()) as client:
        client.flushall()
        yield redis_server.url()
        client.flushall()
