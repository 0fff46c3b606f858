"""Bring .venv to what the lock files say; standard library only, so that any CPython 3.11 or 3.12 can run it.

Usage: environment.py run|dev. `run` installs what the platform needs, `dev` adds the tools of tests and checks.
An environment that was made for `dev` stays so. Nothing is done when nothing changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
STAMP = VENV / ".pitboss-stamp"
LOCKS = {"run": ROOT / "requirements.lock", "dev": ROOT / "requirements-dev.lock"}
SUPPORTED = ((3, 11), (3, 12))


def main() -> None:
    """Make or refresh the environment under a lock, so that two at once do not harm it."""
    wanted = sys.argv[1]
    version = sys.version_info[:2]
    if sys.implementation.name != "cpython" or version not in SUPPORTED:
        fail(f"this is {sys.implementation.name} {version[0]}.{version[1]}; Pitboss needs CPython 3.11 or 3.12")
    with (ROOT / ".venv.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another make that prepares .venv")
            fcntl.flock(lock, fcntl.LOCK_EX)
        refresh(wanted)


def refresh(wanted: str) -> None:
    """Do what is missing, step by step, and remember it last."""
    level, digest = read_stamp()
    if level == "dev":
        wanted = "dev"
    if not is_working():
        make_venv()
    elif (level, digest) == (wanted, inputs_digest(wanted)):
        return
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    install_uv()
    say(f"installing {LOCKS[wanted].name} (hashes are checked; cold caches take a minute or two)")
    # Compiled now, since a start that may not write bytecode would compile everything each time.
    uv("pip", "sync", "--require-hashes", "--compile-bytecode", str(LOCKS[wanted]))
    # Our own distributions, editable and without anything fetched to build them.
    members = [item for folder in members_of_workspace() for item in ("--editable", str(folder))]
    uv("pip", "install", "--no-deps", "--no-build-isolation", *members)
    STAMP.write_text(f"{wanted} {inputs_digest(wanted)}\n")
    say(f"environment ready in {time.monotonic() - started:.0f} s")


def members_of_workspace() -> list[Path]:
    """Return the folders of our own distributions."""
    found = [ROOT / "core" / "sdk", ROOT / "core" / "verify", ROOT / "core" / "app"]
    for pattern in ("plugins/*/*/pyproject.toml", "jurisdictions/*/pyproject.toml"):
        folders = (path.parent for path in sorted(ROOT.glob(pattern)))
        # What begins with an underscore is a template.
        found += [one for one in folders if not any(part.startswith("_") for part in one.relative_to(ROOT).parts)]
    return found


def inputs_digest(wanted: str) -> str:
    """Return a digest of everything that decides what is installed."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (LOCKS[wanted], *(folder / "pyproject.toml" for folder in members_of_workspace())):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def read_stamp() -> tuple[str, str]:
    """Return what the environment was last brought to."""
    try:
        level, digest = STAMP.read_text().split()
    except (OSError, ValueError):
        return "", ""
    return level, digest


def is_working() -> bool:
    """Return whether .venv has a Python that runs and is supported."""
    probe = f"import sys; sys.exit(sys.version_info[:2] not in {SUPPORTED!r})"
    try:
        return subprocess.run([str(PYTHON), "-c", probe], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """Make .venv anew; name the package to install if Python came without venv."""
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian ships it apart
        import venv  # noqa: F401, PLC0415
    except ImportError:
        minor = f"python3.{sys.version_info[1]}-venv"
        fail(f"{sys.executable} has no venv: install it (Debian and Ubuntu: `apt install {minor}`, or python3-venv)")
    say(f"making .venv with {sys.executable} ({sys.version.split()[0]})")
    shutil.rmtree(VENV, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(VENV)])


def install_uv() -> None:
    """Install the pinned uv with pip, by hash."""
    pinned = requirement("uv")
    version = pinned.split("==", 1)[1].split()[0]
    if (
        UV.exists()
        and version in subprocess.run([str(UV), "--version"], check=False, capture_output=True, text=True).stdout
    ):
        return
    say(f"installing uv {version}")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pinned)
        file.flush()
        pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        run([*pip, "--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement", file.name])


def requirement(name: str) -> str:
    """Return one package's lines of requirements.lock, hashes included."""
    lines = LOCKS["run"].read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = start
    while lines[end].endswith("\\"):
        end += 1
    return "\n".join(lines[start : end + 1]) + "\n"


def uv(*arguments: str) -> None:
    """Run uv on .venv and on nothing else; it finds packages where pip is told to."""
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for pip_name, uv_name in (
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
        ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
        ("PIP_CERT", "SSL_CERT_FILE"),
    ):
        if pip_name in environ:
            environ.setdefault(uv_name, environ[pip_name])
    run([str(UV), *arguments[:2], "--python", str(PYTHON), *arguments[2:]], environ)


def run(argv: list[str], environ: dict[str, str] | None = None) -> None:
    """Run a program with its output shown; end with its code if it fails."""
    code = subprocess.run(argv, check=False, env=environ).returncode
    if code:
        fail(f"`{' '.join(argv[:6])} …` ended with code {code}")


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"environment: {line}", flush=True)


def fail(line: str) -> None:
    """Print why it cannot go on, and end."""
    sys.exit(f"environment: {line}")


if __name__ == "__main__":
    main()
