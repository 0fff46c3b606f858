"""Write-once storage in a bucket with S3 Object Lock; a service counts as write-once once it passes the contract."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import boto3  # pyright: ignore[reportMissingTypeStubs]
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

from pitboss.kernel.clock import utc_now
from pitboss.platform.worm.port import (
    Mode,
    ObjectDamaged,
    ObjectMissing,
    Retention,
    StoredVersion,
    WormRefused,
    WormUnavailable,
    check_key,
    check_retention,
)

PART_BYTES: Final = 8 * 1024 * 1024
"""S3 takes parts of at least 5 MiB, but for the last."""
_TIMEOUT_SECONDS: Final = 20
_MISSING: Final = {"NoSuchKey", "NoSuchVersion", "404", "NotFound", "MethodNotAllowed"}
_REFUSED: Final = {
    "AccessDenied",
    "ObjectLocked",
    "InvalidBucketState",
    "InvalidRequest",
    "InvalidRetentionPeriod",
    "MalformedXML",
    "403",
}


class S3WormStore:
    """A bucket that was made with Object Lock. Credentials are found as AWS's own SDK finds them.

    Whether retention is kept is the service's doing: that what was asked for is there is checked after each put.
    """

    def __init__(self, bucket: str, region: str, *, client: Any = None) -> None:
        self._s3: Any = connect(region) if client is None else client
        self._bucket = bucket

    async def check(self) -> None:
        """Raise `WormRefused` unless the bucket keeps versions and has Object Lock."""
        versioning = await self._call(self._s3.get_bucket_versioning)
        if versioning.get("Status") != "Enabled":
            raise WormRefused(f"bucket {self._bucket} does not keep versions")
        lock = await self._call(self._s3.get_object_lock_configuration)
        if lock.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise WormRefused(f"bucket {self._bucket} has no Object Lock")

    async def put(self, key: str, content: bytes, retention: Retention, *, hold: bool = False) -> StoredVersion:
        """Store a version under lock."""
        checked = check_retention(retention, utc_now())
        digest = hashlib.sha256(content)
        answer = await self._call(
            self._s3.put_object,
            Key=check_key(key),
            Body=content,
            # Object Lock asks for it beside any checksum that is newer; nothing rests on it.
            ContentMD5=base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
            ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
            Metadata={"sha256": digest.hexdigest()},
            ObjectLockLegalHoldStatus="ON" if hold else "OFF",
            **_lock(checked),
        )
        return await self._confirm(key, answer, checked, hold=hold)

    async def put_parts(self, key: str, parts: AsyncIterable[bytes], retention: Retention) -> StoredVersion:
        """Store a version by a multipart upload, under lock from its completion on; its digest is not known before."""
        checked = check_retention(retention, utc_now())
        upload = await self._call(self._s3.create_multipart_upload, Key=check_key(key), **_lock(checked))
        named = {"Key": key, "UploadId": upload["UploadId"]}
        sent: list[dict[str, Any]] = []
        try:
            waiting = bytearray()
            async for part in parts:
                waiting += part
                while len(waiting) >= PART_BYTES:
                    sent.append(await self._send_part(named, len(sent) + 1, bytes(waiting[:PART_BYTES])))
                    del waiting[:PART_BYTES]
            if waiting or not sent:
                sent.append(await self._send_part(named, len(sent) + 1, bytes(waiting)))
            answer = await self._call(self._s3.complete_multipart_upload, **named, MultipartUpload={"Parts": sent})
        except BaseException:
            await self._call(self._s3.abort_multipart_upload, **named)
            raise
        return await self._confirm(key, answer, checked, hold=False)

    async def get(self, key: str, version: str = "") -> bytes:
        """Return the content."""
        answer = await self._call(self._s3.get_object, Key=key, **_version(version))
        content: bytes = await asyncio.to_thread(answer["Body"].read)
        told = answer["Metadata"].get("sha256")
        if told and not hmac.compare_digest(hashlib.sha256(content).hexdigest(), told):
            raise ObjectDamaged(f"{key}: its content is not what was put")
        return content

    async def head(self, key: str, version: str = "") -> StoredVersion:
        """Return what the service tells of a version."""
        answer = await self._call(self._s3.head_object, Key=key, **_version(version))
        mode = answer.get("ObjectLockMode")
        until = answer.get("ObjectLockRetainUntilDate")
        return StoredVersion(
            key,
            answer.get("VersionId", version),
            answer["ContentLength"],
            answer["Metadata"].get("sha256", ""),
            Retention(Mode(mode), until.astimezone(UTC)) if mode and until else None,
            answer.get("ObjectLockLegalHoldStatus") == "ON",
        )

    async def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return every version of the keys that begin with `prefix`, with one question for each."""

        def collect(**arguments: Any) -> list[tuple[str, datetime, str]]:
            pages = self._s3.get_paginator("list_object_versions").paginate(**arguments)
            found = [each for page in pages for each in page.get("Versions", ())]
            return [(each["Key"], each["LastModified"], each["VersionId"]) for each in reversed(found)]

        named = await self._call(collect, Prefix=prefix)
        return [await self.head(key, version) for key, _, version in sorted(named, key=lambda each: each[:2])]

    async def extend_retention(self, key: str, version: str, until: datetime) -> StoredVersion:
        """Keep a version longer, in its mode."""
        found = await self.head(key, version)
        mode = found.retention.mode if found.retention else Mode.GOVERNANCE
        retention = check_retention(Retention(mode, until), utc_now())
        if found.retention and retention.until < found.retention.until:
            raise WormRefused(f"{key} {version}: retention is never shortened")
        await self.set_retention(key, version, retention)
        return await self.head(key, version)

    async def set_hold(self, key: str, version: str, *, on: bool) -> StoredVersion:
        """Put a hold on a version or take it off."""
        await self._call(
            self._s3.put_object_legal_hold, Key=key, VersionId=version, LegalHold={"Status": "ON" if on else "OFF"}
        )
        return await self.head(key, version)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._s3.close)

    async def delete_version(self, key: str, version: str, *, bypass: bool = False) -> None:
        """Ask the service to destroy a version."""
        await self._call(self._s3.delete_object, Key=key, VersionId=version, **_bypass(bypass))

    async def delete_versions(self, versions: Sequence[tuple[str, str]], *, bypass: bool = False) -> None:
        """Ask the service to destroy several versions in one call."""
        named = [{"Key": key, "VersionId": version} for key, version in versions]
        answer = await self._call(self._s3.delete_objects, Delete={"Objects": named}, **_bypass(bypass))
        if answer.get("Errors"):
            raise WormRefused(f"{len(answer['Errors'])} of {len(named)} versions are kept")

    async def hide(self, key: str) -> None:
        """Put a delete marker over a key."""
        await self._call(self._s3.delete_object, Key=key)

    async def set_retention(self, key: str, version: str, retention: Retention | None, *, bypass: bool = False) -> None:
        """Ask the service to replace the retention of a version."""
        asked = {"Mode": retention.mode.value, "RetainUntilDate": retention.until} if retention else {}
        await self._call(
            self._s3.put_object_retention,
            Key=key,
            VersionId=version,
            Retention=asked,
            **_bypass(bypass),
        )

    async def suspend_versioning(self) -> None:
        """Ask the service to stop keeping versions."""
        await self._call(self._s3.put_bucket_versioning, VersioningConfiguration={"Status": "Suspended"})

    async def _send_part(self, named: dict[str, Any], number: int, content: bytes) -> dict[str, Any]:
        answer = await self._call(self._s3.upload_part, **named, PartNumber=number, Body=content)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    async def _confirm(self, key: str, answer: dict[str, Any], retention: Retention, *, hold: bool) -> StoredVersion:
        stored = await self.head(key, answer.get("VersionId", ""))
        if stored.retention != retention or stored.hold != hold:
            raise WormRefused(f"{key}: the service did not take the retention or the hold that was asked for")
        return stored

    async def _call(self, call: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(call, Bucket=self._bucket, **arguments)
        except ClientError as error:
            said = cast("dict[str, str]", error.response["Error"])  # pyright: ignore[reportUnknownMemberType]
            code = said.get("Code", "")
            if code in _MISSING:
                raise ObjectMissing("the bucket has no such object or version") from None
            if code in _REFUSED:
                raise WormRefused(f"the service refused: {code}") from None
            raise WormUnavailable(f"the service answered {code}") from None
        except BotoCoreError as error:
            raise WormUnavailable(f"the service did not answer: {type(error).__name__}") from None


def connect(region: str) -> Any:
    """Return a client of S3 in a region; an address from the environment (`AWS_ENDPOINT_URL_S3`) is taken."""
    sdk: Any = boto3
    config = Config(
        connect_timeout=_TIMEOUT_SECONDS,
        read_timeout=_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    # A session of its own: the SDK's default one may not be shared by threads while clients are made.
    return sdk.session.Session().client("s3", region_name=region, config=config)


def _lock(retention: Retention) -> dict[str, Any]:
    return {"ObjectLockMode": retention.mode.value, "ObjectLockRetainUntilDate": retention.until}


def _version(version: str) -> dict[str, str]:
    return {"VersionId": version} if version else {}


def _bypass(bypass: bool) -> dict[str, bool]:
    # Left out rather than false: a service may look only whether it is there.
    return {"BypassGovernanceRetention": True} if bypass else {}
