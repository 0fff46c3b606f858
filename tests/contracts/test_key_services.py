"""One contract for every key service: what it wraps it unwraps, in its context alone, until its version is destroyed."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.contracts.transit import Transit, serve_transit
from tests.factories.cloud import REGION
from tests.factories.ports import free_port

from pitboss.platform.keys.aws import AwsKeyService
from pitboss.platform.keys.local import LocalKeyService
from pitboss.platform.keys.service import (
    MAX_WRAPPED_BYTES,
    KeyExists,
    KeyMissing,
    KeyService,
    KeyServiceRefused,
    KeyServiceUnavailable,
    UnwrapRefused,
    WrappedKey,
)
from pitboss.platform.keys.vault import VaultKeyService
from pitboss.platform.processes import wait_until

MATERIAL = bytes(range(32))
NOT_ITS_OWN = (UnwrapRefused, KeyMissing, KeyServiceRefused)
"""A service may look for a key of its own first, and not tell one that is not there from one that is not allowed."""
TOKEN = secrets.token_hex(16)


@contextmanager
def real_engine(program: str) -> Iterator[str]:
    """Run a development server of Vault or OpenBao with the transit engine mounted."""
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        "server",
        "-dev",
        f"-dev-root-token-id={TOKEN}",
        f"-dev-listen-address={address}",
        "-dev-no-store-token",
    ]
    with subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            client = httpx.Client(base_url=f"http://{address}", headers={"X-Vault-Token": TOKEN}, trust_env=False)

            def answers() -> bool:
                try:
                    return client.get("/v1/sys/health").is_success
                except httpx.HTTPError:
                    return False

            assert wait_until(answers, 30)
            client.post("/v1/sys/mounts/transit", json={"type": "transit"}).raise_for_status()
            client.close()
            yield f"http://{address}"
        finally:
            process.terminate()


ENGINES = ("vault", "bao")
PRESENT = [name for name in ENGINES if shutil.which(name)]


@pytest.fixture(params=["files", "transit stand-in", "KMS of moto", *PRESENT])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyService]:
    if request.param == "files":
        yield LocalKeyService(tmp_path / "keys")
    elif request.param == "KMS of moto":
        made = AwsKeyService(REGION, endpoint=request.getfixturevalue("cloud"), prefix=secrets.token_hex(6))
        yield made
        await made.close()
    elif request.param == "transit stand-in":
        with serve_transit(free_port(), Transit(TOKEN)) as address:
            service = VaultKeyService(address, TOKEN)
            yield service
            await service.close()
    else:
        with real_engine(request.param) as address:
            service = VaultKeyService(address, TOKEN)
            yield service
            await service.close()


@pytest.mark.parametrize("name", ENGINES)
def test_a_real_engine_was_among_the_services(name: str) -> None:
    if name not in PRESENT:
        pytest.skip(f"no {name} on PATH: the contract was not run against it")


async def test_what_is_wrapped_is_unwrapped(service: KeyService) -> None:
    assert (await service.create("eu-1.tenant.7")).versions == (1,)
    wrapped = await service.wrap("eu-1.tenant.7", MATERIAL, "epoch 1")
    assert wrapped.version == 1
    assert MATERIAL not in wrapped.sealed
    assert await service.unwrap("eu-1.tenant.7", wrapped, "epoch 1") == MATERIAL
    again = await service.wrap("eu-1.tenant.7", MATERIAL, "epoch 1")
    assert again.sealed != wrapped.sealed


async def test_the_largest_material_fits_and_more_is_refused(service: KeyService) -> None:
    await service.create("key")
    large = secrets.token_bytes(MAX_WRAPPED_BYTES)
    assert await service.unwrap("key", await service.wrap("key", large, "c"), "c") == large
    for material in (b"", large + b"!"):
        with pytest.raises(ValueError, match="bytes"):
            await service.wrap("key", material, "c")


async def test_another_context_opens_nothing(service: KeyService) -> None:
    await service.create("key")
    wrapped = await service.wrap("key", MATERIAL, "tenant 7")
    for context in ("tenant 8", "tenant 77", "tenant 7 "):
        with pytest.raises(UnwrapRefused):
            await service.unwrap("key", wrapped, context)
    assert await service.unwrap("key", wrapped, "tenant 7") == MATERIAL


async def test_another_key_opens_nothing(service: KeyService) -> None:
    await service.create("one")
    await service.create("two")
    wrapped = await service.wrap("one", MATERIAL, "c")
    with pytest.raises(NOT_ITS_OWN):
        await service.unwrap("two", wrapped, "c")


async def test_a_flipped_byte_is_seen(service: KeyService) -> None:
    await service.create("key")
    wrapped = await service.wrap("key", MATERIAL, "c")
    for place in (0, len(wrapped.sealed) // 2, len(wrapped.sealed) - 1):
        broken = bytearray(wrapped.sealed)
        broken[place] ^= 1
        with pytest.raises(NOT_ITS_OWN):
            await service.unwrap("key", WrappedKey(1, bytes(broken)), "c")


async def test_a_rotation_wraps_anew_and_still_opens_the_old(service: KeyService) -> None:
    await service.create("key")
    old = await service.wrap("key", MATERIAL, "c")
    assert (await service.rotate("key")).versions == (1, 2)
    new = await service.wrap("key", MATERIAL, "c")
    assert new.version == 2
    assert await service.unwrap("key", old, "c") == await service.unwrap("key", new, "c") == MATERIAL


async def test_a_version_is_not_another(service: KeyService) -> None:
    await service.create("key")
    old = await service.wrap("key", MATERIAL, "c")
    await service.rotate("key")
    with pytest.raises(NOT_ITS_OWN):
        await service.unwrap("key", WrappedKey(2, old.sealed), "c")
    with pytest.raises(KeyMissing):
        await service.unwrap("key", WrappedKey(3, old.sealed), "c")


async def test_a_destroyed_version_opens_nothing_and_the_others_do(service: KeyService) -> None:
    await service.create("key")
    first = await service.wrap("key", MATERIAL, "c")
    await service.rotate("key")
    second = await service.wrap("key", MATERIAL, "c")
    await service.rotate("key")
    assert (await service.destroy_before("key", 2)).versions == (2, 3)
    with pytest.raises(KeyMissing):
        await service.unwrap("key", first, "c")
    assert await service.unwrap("key", second, "c") == MATERIAL
    assert (await service.wrap("key", MATERIAL, "c")).version == 3


async def test_destroying_again_changes_nothing(service: KeyService) -> None:
    await service.create("key")
    for _ in range(2):
        await service.rotate("key")
    for before in (1, 3, 3, 2, 1):
        state = await service.destroy_before("key", before)
    assert state.versions == (3,)
    assert (await service.rotate("key")).versions == (3, 4), "a number is never given twice"


async def test_the_version_that_wraps_stays(service: KeyService) -> None:
    await service.create("key")
    wrapped = await service.wrap("key", MATERIAL, "c")
    with pytest.raises(ValueError, match="stays"):
        await service.destroy_before("key", 2)
    assert await service.unwrap("key", wrapped, "c") == MATERIAL


async def test_a_destroyed_key_is_gone(service: KeyService) -> None:
    await service.create("key")
    await service.create("key-2")
    wrapped = await service.wrap("key", MATERIAL, "c")
    for _ in range(2):
        await service.destroy("key")
    with pytest.raises(KeyMissing):
        await service.unwrap("key", wrapped, "c")
    with pytest.raises(KeyMissing):
        await service.describe("key")
    assert (await service.describe("key-2")).versions == (1,)


async def test_a_key_is_made_once(service: KeyService) -> None:
    await service.create("key")
    wrapped = await service.wrap("key", MATERIAL, "c")
    with pytest.raises(KeyExists):
        await service.create("key")
    assert await service.unwrap("key", wrapped, "c") == MATERIAL


async def test_a_key_that_nobody_made_does_nothing(service: KeyService) -> None:
    for call in (
        service.describe("none"),
        service.rotate("none"),
        service.wrap("none", MATERIAL, "c"),
        service.unwrap("none", WrappedKey(1, secrets.token_bytes(60)), "c"),
        service.destroy_before("none", 1),
    ):
        with pytest.raises(KeyMissing):
            await call
    await service.destroy("none")
    with pytest.raises(KeyMissing):  # and none of the calls made it
        await service.describe("none")


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a..b", "a_b", "a b", ".a", "a.", "-a", "a" * 65])
def test_a_name_that_not_every_service_takes_is_refused(name: str, tmp_path: Path) -> None:
    service = LocalKeyService(tmp_path / "keys")
    with pytest.raises(ValueError, match="name of a key"):
        asyncio.run(service.create(name))
    assert not list(tmp_path.rglob("*.key"))


async def test_a_service_that_is_away_says_so() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    service = VaultKeyService(address, TOKEN)
    with pytest.raises(KeyServiceUnavailable):
        await service.describe("key")
    await service.close()


async def test_a_sealed_engine_and_a_wrong_token_are_told_apart() -> None:
    transit = Transit(TOKEN)
    with serve_transit(free_port(), transit) as address:
        stranger, service = VaultKeyService(address, "wrong"), VaultKeyService(address, TOKEN)
        with pytest.raises(KeyServiceRefused):
            await stranger.create("key")
        assert not transit.keys
        transit.status = 503
        with pytest.raises(KeyServiceUnavailable):
            await service.create("key")
        transit.status = 200
        await service.create("key")
        await stranger.close()
        await service.close()


async def test_the_engine_trims_what_a_floor_alone_would_only_hide() -> None:
    transit = Transit(TOKEN)
    with serve_transit(free_port(), transit) as address:
        service = VaultKeyService(address, TOKEN)
        await service.create("key")
        await service.rotate("key")
        await service.destroy_before("key", 2)
        assert list(transit.keys["key"].versions) == [2]
        await service.close()


async def test_files_are_private_and_hold_no_key_in_clear(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    service = LocalKeyService(folder)
    await service.create("key")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "root.key": 0o600,
        "key.v1.key": 0o600,
    }
    (folder / "root.key").chmod(0o640)
    with pytest.raises(KeyServiceRefused):
        await service.wrap("key", MATERIAL, "c")


async def test_a_file_under_another_name_opens_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    service = LocalKeyService(folder)
    await service.create("one")
    wrapped = await service.wrap("one", MATERIAL, "c")
    shutil.copy(folder / "one.v1.key", folder / "two.v1.key")
    shutil.copy(folder / "one.v1.key", folder / "one.v2.key")
    for name, version in (("two", 1), ("one", 2)):
        with pytest.raises(UnwrapRefused):
            await service.unwrap(name, WrappedKey(version, wrapped.sealed), "c")


async def test_without_its_root_no_file_opens(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    service = LocalKeyService(folder)
    await service.create("key")
    wrapped = await service.wrap("key", MATERIAL, "c")
    (folder / "root.key").unlink()
    with pytest.raises(UnwrapRefused):
        await service.unwrap("key", wrapped, "c")
