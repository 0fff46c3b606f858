"""Keys of AWS KMS: each version of ours is a KMS key of its own, because KMS destroys keys and not versions of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import boto3  # pyright: ignore[reportMissingTypeStubs]
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

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

PENDING_DAYS: Final = 7
"""The shortest time that KMS keeps a key before it destroys it; disabled, and back only for who may cancel that."""
_TIMEOUT_SECONDS: Final = 5
_MISSING: Final = {"NotFoundException", "DisabledException", "KMSInvalidStateException"}
_FOREIGN: Final = {"InvalidCiphertextException", "IncorrectKeyException", "ValidationException"}
_OTHER_KEY: Final = "the ciphertext refers to"
"""How KMS begins what it says of a ciphertext of another key, under the code of a lacking permission."""
_REFUSED: Final = {"AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"}


class AwsKeyService:
    """Symmetric KMS keys under the aliases `alias/<prefix>/<name>/<version>`; the context is the encryption context.

    Credentials are found as AWS's own SDK finds them. A key that is destroyed opens nothing from that moment on,
    and is gone for good after `PENDING_DAYS`: until then who may `kms:CancelKeyDeletion` can bring it back.
    """

    def __init__(
        self,
        region: str,
        *,
        prefix: str = "pitboss",
        endpoint: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        sdk: Any = boto3
        config = Config(
            connect_timeout=_TIMEOUT_SECONDS,
            read_timeout=_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        # A session of its own: the SDK's default one may not be shared by threads while clients are made.
        self._kms: Any = sdk.session.Session().client("kms", region_name=region, endpoint_url=endpoint, config=config)
        self._prefix = f"alias/{prefix}/"
        self._tags = [{"TagKey": key, "TagValue": value} for key, value in (tags or {}).items()]

    async def create(self, name: str) -> KeyState:
        """Make a key with version 1; raise `KeyExists`."""
        if await self._versions(check_name(name)):
            raise KeyExists(f"there is a key {name}")
        await self._add(name, 1)
        return KeyState(name, (1,))

    async def describe(self, name: str) -> KeyState:
        """Return the versions of a key; raise `KeyMissing`."""
        versions = await self._versions(check_name(name))
        if not versions:
            raise KeyMissing(f"there is no key {name}")
        return KeyState(name, tuple(sorted(versions)))

    async def rotate(self, name: str) -> KeyState:
        """Add a version that wraps from now on; raise `KeyMissing`."""
        state = await self.describe(name)
        await self._add(name, state.current + 1)
        return await self.describe(name)

    async def wrap(self, name: str, material: bytes, context: str) -> WrappedKey:
        """Seal `material` under the current version, bound to `context`; raise `KeyMissing`."""
        check_material(material)
        version = (await self.describe(name)).current
        answer = await self._call(
            self._kms.encrypt,
            KeyId=self._alias(name, version),
            Plaintext=material,
            EncryptionContext=_context(context),
        )
        return WrappedKey(version, answer["CiphertextBlob"])

    async def unwrap(self, name: str, wrapped: WrappedKey, context: str) -> bytes:
        """Open what `wrap` sealed; raise `KeyMissing` or `UnwrapRefused`."""
        answer = await self._call(
            self._kms.decrypt,
            KeyId=self._alias(check_name(name), wrapped.version),
            CiphertextBlob=wrapped.sealed,
            EncryptionContext=_context(context),
        )
        return answer["Plaintext"]

    async def destroy_before(self, name: str, version: int) -> KeyState:
        """Schedule the deletion of every version older than `version`, and take its alias away."""
        versions = await self._versions(check_name(name))
        if not versions:
            raise KeyMissing(f"there is no key {name}")
        check_before(KeyState(name, tuple(sorted(versions))), version)
        for old, key_id in versions.items():
            if old < version:
                await self._remove(name, old, key_id)
        return await self.describe(name)

    async def destroy(self, name: str) -> None:
        """Schedule the deletion of every version of a key."""
        for version, key_id in (await self._versions(check_name(name))).items():
            await self._remove(name, version, key_id)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._kms.close)

    def _alias(self, name: str, version: int) -> str:
        # An alias holds letters, digits, slashes, underscores and dashes: a dot is written as an underscore.
        return f"{self._prefix}{name.replace('.', '_')}/{version}"

    async def _versions(self, name: str) -> dict[int, str]:
        start = self._alias(name, 0)[:-1]

        def collect() -> dict[int, str]:
            pages = self._kms.get_paginator("list_aliases").paginate()
            found = [alias for page in pages for alias in page["Aliases"] if alias["AliasName"].startswith(start)]
            return {int(each["AliasName"][len(start) :]): each["TargetKeyId"] for each in found}

        return await self._call(collect)

    async def _add(self, name: str, version: int) -> None:
        made = await self._call(self._kms.create_key, Description=f"{name} version {version}", Tags=self._tags)
        key_id = made["KeyMetadata"]["KeyId"]
        try:
            await self._call(self._kms.create_alias, AliasName=self._alias(name, version), TargetKeyId=key_id)
        except KeyExists:
            # Another process was first; what is left without an alias would only cost money.
            await self._call(self._kms.schedule_key_deletion, KeyId=key_id, PendingWindowInDays=PENDING_DAYS)
            raise

    async def _remove(self, name: str, version: int, key_id: str) -> None:
        with suppress(KeyMissing):  # on its way out already: an earlier call ended before the alias was gone
            await self._call(self._kms.schedule_key_deletion, KeyId=key_id, PendingWindowInDays=PENDING_DAYS)
        await self._call(self._kms.delete_alias, AliasName=self._alias(name, version))

    async def _call(self, call: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(call, **arguments)
        except ClientError as error:
            raise _translate(error) from None
        except BotoCoreError as error:
            raise KeyServiceUnavailable(f"KMS did not answer: {type(error).__name__}") from None


def _context(context: str) -> dict[str, str]:
    return {"pitboss": context}


def _translate(error: ClientError) -> Exception:
    said = cast("dict[str, str]", error.response["Error"])  # pyright: ignore[reportUnknownMemberType]
    code = said.get("Code", "")
    if code in _MISSING:
        return KeyMissing("KMS has no such key, or it is being destroyed")
    if code in _FOREIGN or said.get("Message", "").lower().startswith(_OTHER_KEY):
        return UnwrapRefused("KMS refused the ciphertext or its context")
    if code in _REFUSED:
        return KeyServiceRefused(f"KMS does not let this process do that: {code}")
    if code == "AlreadyExistsException":
        return KeyExists("there is such a version already")
    return KeyServiceUnavailable(f"KMS answered {code}")
