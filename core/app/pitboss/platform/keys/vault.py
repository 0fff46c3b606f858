"""Keys of the transit engine of HashiCorp Vault or OpenBao, over its HTTP API."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

import httpx

from pitboss.platform.keys.service import (
    KeyExists,
    KeyMissing,
    KeyServiceRefused,
    KeyServiceUnavailable,
    KeyState,
    UnwrapRefused,
    WrappedKey,
    check_before,
    check_material,
    check_name,
)

TIMEOUT_SECONDS: Final = 5.0
_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_SEALED: Final = re.compile(r"vault:v(?P<version>[1-9][0-9]*):(?P<body>[A-Za-z0-9+/]+=*)")
_NOT_THERE: Final = re.compile(
    r"not found|disallowed by policy|too old|too new|invalid key name|larger than the latest"
)
"""Words of the engine for a key that is not there and for a version below the least one that it keeps."""


class VaultKeyService:
    """Transit keys of type `aes256-gcm96`; the context is the engine's `associated_data`.

    `mount` is where the engine is mounted. The token needs create, read and update on `<mount>/keys/*`,
    `<mount>/encrypt/*` and `<mount>/decrypt/*`, and delete on `<mount>/keys/*`.
    """

    def __init__(self, address: str, token: str, mount: str = "transit") -> None:
        self._mount = mount
        self._client = httpx.AsyncClient(
            base_url=address.rstrip("/"),
            headers={"X-Vault-Token": token, "X-Vault-Request": "true"},
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
        )

    async def create(self, name: str) -> KeyState:
        """Make a key with version 1; raise `KeyExists`."""
        try:
            await self.describe(name)
        except KeyMissing:
            # Two that create at once make one key: the engine keeps the first and says so to neither.
            await self._call("POST", f"keys/{name}", {"type": "aes256-gcm96"})
            return await self.describe(name)
        raise KeyExists(f"there is a key {name}")

    async def describe(self, name: str) -> KeyState:
        """Return the versions of a key; raise `KeyMissing`."""
        data = await self._call("GET", f"keys/{check_name(name)}")
        least = int(data.get("min_decryption_version", 1))
        versions = sorted(int(version) for version in data["keys"] if int(version) >= least)
        return KeyState(name, tuple(versions))

    async def rotate(self, name: str) -> KeyState:
        """Add a version that wraps from now on; raise `KeyMissing`."""
        await self.describe(name)  # the engine would answer in other words
        await self._call("POST", f"keys/{name}/rotate", {})
        return await self.describe(name)

    async def wrap(self, name: str, material: bytes, context: str) -> WrappedKey:
        """Seal `material` under the current version, bound to `context`; raise `KeyMissing`."""
        await self.describe(name)  # `encrypt` makes a key that is not there, where the token lets it
        body = {"plaintext": _encode(check_material(material)), "associated_data": _encode(context.encode())}
        data = await self._call("POST", f"encrypt/{name}", body)
        match = _SEALED.fullmatch(data["ciphertext"])
        if match is None:
            raise KeyServiceUnavailable("the transit engine answered with something that is not its ciphertext")
        return WrappedKey(int(match["version"]), base64.b64decode(match["body"]))

    async def unwrap(self, name: str, wrapped: WrappedKey, context: str) -> bytes:
        """Open what `wrap` sealed; raise `KeyMissing` or `UnwrapRefused`."""
        body = {
            "ciphertext": f"vault:v{wrapped.version}:{_encode(wrapped.sealed)}",
            "associated_data": _encode(context.encode()),
        }
        data = await self._call("POST", f"decrypt/{check_name(name)}", body)
        try:
            return base64.b64decode(data["plaintext"], validate=True)
        except binascii.Error:
            raise KeyServiceUnavailable("the transit engine answered with something that is not base64") from None

    async def destroy_before(self, name: str, version: int) -> KeyState:
        """Destroy every version older than `version`: first none opens any more, then the engine trims them away."""
        state = await self.describe(name)
        check_before(state, version)
        data = await self._call("GET", f"keys/{name}")
        if int(data.get("min_available_version", 0)) >= version or version <= 1:
            return state
        if int(data.get("min_decryption_version", 1)) < version or int(data.get("min_encryption_version", 0)) < version:
            least = {"min_decryption_version": version, "min_encryption_version": version}
            await self._call("POST", f"keys/{name}/config", least)
        # The floor alone could be taken back by whoever may configure the key; what is trimmed is gone.
        await self._call("POST", f"keys/{name}/trim", {"min_available_version": version})
        return await self.describe(name)

    async def destroy(self, name: str) -> None:
        """Destroy a key with all versions."""
        try:
            await self.describe(name)
        except KeyMissing:
            return
        await self._call("POST", f"keys/{name}/config", {"deletion_allowed": True})
        await self._call("DELETE", f"keys/{name}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = await self._client.request(method, f"/v1/{self._mount}/{path}", json=body)
        except httpx.HTTPError as error:
            raise KeyServiceUnavailable(f"the transit engine did not answer: {type(error).__name__}") from None
        if response.is_success:
            return _data(response)
        # Its own words may quote what was sent; ours do not.
        said = " ".join(_errors(response)).lower()
        status: int = response.status_code
        if status == _NOT_FOUND:
            raise KeyMissing(f"the transit engine has no {path.split('/')[1]}")
        if status == _FORBIDDEN:
            raise KeyServiceRefused(f"the token may not call {path.split('/', maxsplit=1)[0]} of the transit engine")
        if status == _BAD_REQUEST:
            if _NOT_THERE.search(said):
                raise KeyMissing(f"the transit engine has no such version of {path.split('/')[1]}")
            raise UnwrapRefused("the transit engine refused the ciphertext or its context")
        raise KeyServiceUnavailable(f"the transit engine answered {status}")


def _data(response: httpx.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        return response.json().get("data") or {}
    except ValueError:
        raise KeyServiceUnavailable("the transit engine answered with something that is not JSON") from None


def _errors(response: httpx.Response) -> list[str]:
    try:
        return [str(each) for each in response.json().get("errors") or ()]
    except (ValueError, AttributeError):
        return []


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
