"""The port of key services: keys with versions that never leave the service, and what they wrap."""

from __future__ import annotations

import re
from typing import Final, Protocol

import msgspec

from pitboss_sdk.errors import ErrorKind, PitbossError

MAX_WRAPPED_BYTES: Final = 4096
"""What a service wraps is another key; the smallest bound among the services is that of AWS KMS."""
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?")


class KeyServiceUnavailable(PitbossError):
    """The key service did not answer or is sealed; the same call may succeed later."""

    code = "platform.key_service_unavailable"
    kind = ErrorKind.UNAVAILABLE


class KeyServiceRefused(PitbossError):
    """The key service does not let this process do what it asked for."""

    code = "platform.key_service_refused"
    kind = ErrorKind.FORBIDDEN


class KeyMissing(PitbossError):
    """There is no key of that name, or its version was destroyed."""

    code = "platform.key_missing"
    kind = ErrorKind.NOT_FOUND


class KeyExists(PitbossError):
    """A key of that name is there already."""

    code = "platform.key_exists"
    kind = ErrorKind.CONFLICT


class UnwrapRefused(PitbossError):
    """What was to be unwrapped is not what this key wrapped in this context."""

    code = "platform.unwrap_refused"
    kind = ErrorKind.REFUSED


class WrappedKey(msgspec.Struct, frozen=True):
    """Key material as a service gave it back: under which version of the key, and the sealed bytes."""

    version: int
    sealed: bytes


class KeyState(msgspec.Struct, frozen=True):
    """The versions of a key that still open something; the last one wraps."""

    name: str
    versions: tuple[int, ...]

    @property
    def current(self) -> int:
        """Return the version that wraps."""
        return self.versions[-1]


class KeyService(Protocol):
    """Wraps and unwraps under named keys. Every call may raise `KeyServiceUnavailable` and `KeyServiceRefused`."""

    async def create(self, name: str) -> KeyState:
        """Make a key with version 1; raise `KeyExists`."""
        ...

    async def describe(self, name: str) -> KeyState:
        """Return the versions of a key; raise `KeyMissing`."""
        ...

    async def rotate(self, name: str) -> KeyState:
        """Add a version that wraps from now on; the older ones still unwrap. Raise `KeyMissing`."""
        ...

    async def wrap(self, name: str, material: bytes, context: str) -> WrappedKey:
        """Seal `material` under the current version, bound to `context`; raise `KeyMissing`."""
        ...

    async def unwrap(self, name: str, wrapped: WrappedKey, context: str) -> bytes:
        """Open what `wrap` sealed; raise `KeyMissing` (also for a destroyed version) or `UnwrapRefused`.

        A service may answer `KeyServiceRefused` for what another of its keys wrapped: not every one tells them apart.
        """
        ...

    async def destroy_before(self, name: str, version: int) -> KeyState:
        """Destroy every version older than `version`, again as often as asked; raise `KeyMissing`.

        The version that wraps stays: `version` above it is a `ValueError`.
        """
        ...

    async def destroy(self, name: str) -> None:
        """Destroy a key with all versions; one that is not there is no error."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def check_name(name: str) -> str:
    """Return `name` if every service takes it: a to z, digits, dots and dashes, at most 64."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{name!r} is no name of a key: a-z, 0-9, dots and dashes, 1 to 64")
    return name


def check_material(material: bytes) -> bytes:
    """Return `material` if every service wraps it."""
    if not 1 <= len(material) <= MAX_WRAPPED_BYTES:
        raise ValueError(f"a key service wraps 1 to {MAX_WRAPPED_BYTES} bytes")
    return material


def check_before(state: KeyState, version: int) -> None:
    """Raise `ValueError` if destroying before `version` would take the version that wraps."""
    if version > state.current:
        raise ValueError(f"{state.name}: version {state.current} wraps and stays")
