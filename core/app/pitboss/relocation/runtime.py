"""One end of a move: a tenant's rows in one cell, packed, unpacked, told in figures and removed."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
import msgspec

from pitboss.kernel.clock import monotonic_seconds, utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import SNAPSHOT_LIFETIME_SECONDS, ContextSigner, parse_url
from pitboss.relocation import rules
from pitboss.relocation.contracts import (
    KIT_FORMAT,
    CellReport,
    LogFacts,
    Manifest,
    PackedFile,
    Shape,
    TableFacts,
    TableFile,
)
from pitboss.relocation.errors import KitInvalid, MoveRefused, StillBusy
from pitboss.relocation.store import rows

BATCH_BLOCK: Final = 1000
"""How many numbers of batches a lane takes at once; a test holds it against the lanes' own."""
DRAIN_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.2
_COMPRESSION: Final = 3
_README: Final = """This is everything that cell {cell} held of the tenant {tenant}, as of {made_at}.

To check it you need Python 3.11 or later, the program pitboss_verify, and the public keys of the audit log. Get both
from the operator once, by another way than this folder.

    python -m pitboss_verify <this folder> --keys keys.txt

manifest.json  digests of all files, the rows of each table, the ledger in sums, the end of the audit log
manifest.note  the signature of the log's key over it
tables/        a row a line, as JSON, packed by gzip; bytes are \\x and hexadecimal, times are UTC, sums minor units
objects/       files that belong to the tenant, as they lie in the cell
log/           the audit log as a package of its own, which the same program checks

Fields that were sealed in the cell are sealed here; they open under the keys of the key service alone.
"""

Sign = Callable[[str], Awaitable[str]]
"""Makes a signed note out of a text."""
Carry = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Returns the row of an epoch with its key wrapped for another cell."""
Say = Callable[[str], None]


class CellEnd:
    """A tenant in a cell, behind an administrator's login; use it as a context manager."""

    def __init__(self, admin_url: str, contexts: ContextSigner, scope: TenantScope, locality: str) -> None:
        self.scope = scope
        self.locality = locality
        self._url = parse_url(admin_url).render_as_string(hide_password=False)
        self._contexts = contexts
        self._opened: asyncpg.Connection | None = None

    async def __aenter__(self) -> Self:
        """Connect."""
        settings = {"application_name": "pitboss move"}
        self._opened = await asyncpg.connect(self._url, timeout=10, server_settings=settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of the connection."""
        if self._opened is not None:
            await self._opened.close()

    @property
    def _connection(self) -> asyncpg.Connection:
        if self._opened is None:
            raise RuntimeError("the end is used inside its block")
        return self._opened

    @asynccontextmanager
    async def _transaction(self, *, reading: bool = False) -> AsyncGenerator[asyncpg.Connection]:
        connection = self._connection
        isolation: Any = "repeatable_read" if reading else "read_committed"
        async with connection.transaction(isolation=isolation, readonly=reading):
            token = self._contexts.sign([self.scope.tenant_id], connection.get_server_pid(), SNAPSHOT_LIFETIME_SECONDS)
            await rows.enter(connection, token)
            yield connection

    async def describe(self) -> str:
        """Return the digest of this cell's tables and columns."""
        return rules.digest_schema(await rows.read_shapes(self._connection))

    async def freeze(self, timeout_seconds: float = DRAIN_SECONDS) -> None:
        """Let nobody write for the tenant any more, and wait for whoever began before; raise `StillBusy`."""
        moment = await rows.freeze(self._connection, self.scope.tenant_id)
        until = monotonic_seconds() + timeout_seconds
        while busy := await rows.list_older(self._connection, moment):
            if monotonic_seconds() > until:
                raise StillBusy(f"transactions of {', '.join(busy)} began before the freeze and have not ended")
            await asyncio.sleep(_POLL_SECONDS)

    async def thaw(self) -> None:
        """Let the tenant's rows be reached again."""
        await rows.thaw(self._connection, self.scope.tenant_id)

    async def pack(self, folder: Path, log: LogFacts, sign: Sign, say: Say) -> str:
        """Write all of the tenant's rows beside its log into a kit, sign it, and return the digest of the manifest."""
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        tables: dict[str, TableFile] = {}
        async with self._transaction(reading=True) as connection:
            shapes = await rows.read_shapes(connection)
            for shape in shapes:
                if shape.name not in rules.LOG_TABLES:
                    tables[shape.name] = await self._pack_table(connection, folder, shape)
                    say(f"packed {shape.name}: {tables[shape.name].rows} rows")
            sums = await rows.read_sums(connection, self.scope.tenant_id)
        made_at = utc_now().astimezone(UTC).isoformat()
        readme = _README.format(cell=self.scope.cell, tenant=self.scope.slug, made_at=made_at)
        (folder / "README.txt").write_text(readme)
        manifest = Manifest(
            format=KIT_FORMAT,
            made_at=made_at,
            cell=self.scope.cell,
            locality=self.locality,
            tenant=self.scope.slug,
            tenant_id=self.scope.tenant_id,
            schema=rules.digest_schema(shapes),
            tables=tables,
            sums=sums,
            log=log,
            files=_list_files(folder),
        )
        data = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)
        digest = sha256(data).hexdigest()
        note = await sign(f"{KIT_FORMAT}\n{log.origin}\n{digest}\n")
        (folder / "manifest.json").write_bytes(data)
        (folder / "manifest.note").write_text(note)
        return digest

    async def _pack_table(self, connection: asyncpg.Connection, folder: Path, shape: Shape) -> TableFile:
        columns, name = rules.travelling(shape), f"tables/{shape.name}.jsonl.gz"
        digest, count = sha256(), 0
        with (folder / name).open("wb") as raw, gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as packed:
            async for line in rows.read_rows(connection, shape, columns, self.scope.tenant_id):
                written = line.encode() + b"\n"
                digest.update(written)
                packed.write(written)
                count += 1
        types = {column: shape.columns[column] for column in columns}
        return TableFile(name, count, digest.hexdigest(), types, shape.key)

    async def report(self) -> CellReport:
        """Tell everything that the cell holds of the tenant, beside the log of the cell, in figures."""
        tables: dict[str, TableFacts] = {}
        async with self._transaction(reading=True) as connection:
            for shape in await rows.read_shapes(connection):
                if shape.name in rules.LOG_TABLES | rules.PACKED_ONLY:
                    continue
                digest, count = sha256(), 0
                columns = rules.compared(shape)
                async for line in rows.read_rows(connection, shape, columns, self.scope.tenant_id):
                    digest.update(line.encode() + b"\n")
                    count += 1
                tables[shape.name] = TableFacts(count, digest.hexdigest())
            return CellReport(tables, await rows.read_sums(connection, self.scope.tenant_id))

    async def is_empty(self) -> bool:
        """Return whether the cell holds nothing of the tenant."""
        return not await self.count()

    async def count(self) -> dict[str, int]:
        """Return how many rows of the tenant each table holds that holds any."""
        async with self._transaction(reading=True) as connection:
            shapes = await rows.read_shapes(connection)
            return await rows.count_rows(connection, shapes, self.scope.tenant_id)

    async def unpack(self, folder: Path, manifest: Manifest, carry: Carry, say: Say) -> None:
        """Write all rows of a kit into the cell in one transaction; raise `MoveRefused` for a cell that holds some.

        Each file is held against the manifest before anything of it is written.
        """
        async with self._transaction() as connection:
            shapes = {shape.name: shape for shape in await rows.read_shapes(connection)}
            if rules.digest_schema(list(shapes.values())) != manifest.schema:
                raise MoveRefused("the cells have other tables: bring both to one version first")
            if held := await rows.count_rows(connection, list(shapes.values()), self.scope.tenant_id):
                raise MoveRefused(f"cell {self.scope.cell} holds rows of {self.scope.slug}: {', '.join(sorted(held))}")
            travelling = {name: file for name, file in manifest.tables.items() if name not in rules.PACKED_ONLY}
            for name, file in travelling.items():
                await self._unpack_table(connection, folder, shapes[name], file, carry)
                say(f"unpacked {name}: {file.rows} rows")
            await connection.execute("reset role")
            await rows.begin_captures(connection, self.scope.tenant_id)
            for name in travelling:
                await rows.lift_sequences(connection, shapes[name], self.scope.tenant_id)
            await rows.lift_batches(connection, self.scope.tenant_id, BATCH_BLOCK)
            await rows.thaw(connection, self.scope.tenant_id)

    async def _unpack_table(
        self, connection: asyncpg.Connection, folder: Path, shape: Shape, file: TableFile, carry: Carry
    ) -> None:
        columns = rules.travelling(shape)
        if sorted(file.columns) != columns:
            raise KitInvalid(f"{shape.name} has other columns in the kit")
        await rows.set_aside_guards(connection)
        await rows.take_role(connection, shape.name, "insert")
        digest, count, page = sha256(), 0, list[str]()
        with gzip.open(folder / file.file) as lines:
            for line in lines:
                digest.update(line)
                count += 1
                page.append(await _carried(line, carry) if shape.name == "key_epoch" else line.decode())
                if len(page) == rows.PAGE_ROWS:
                    await rows.write_rows(connection, shape, columns, rules.beginning(shape), page)
                    page.clear()
        if page:
            await rows.write_rows(connection, shape, columns, rules.beginning(shape), page)
        if (count, digest.hexdigest()) != (file.rows, file.sha256):
            raise KitInvalid(f"{file.file} is not what was packed")

    async def shred(self) -> int:
        """Remove every row of the tenant and return how many there were; the freeze stays."""
        async with self._transaction() as connection:
            return await rows.delete_rows(connection, await rows.read_shapes(connection), self.scope.tenant_id)


async def _carried(line: bytes, carry: Carry) -> str:
    row: dict[str, Any] = msgspec.json.decode(line)
    if row["wrapped_key"] is not None:
        row = await carry(row)
    return msgspec.json.encode(row).decode()


def list_differences(source: CellReport, target: CellReport) -> list[str]:
    """Return what the target has otherwise than the source has."""
    return list(rules.find_differences(source, target))


def read_manifest(folder: Path, digest: str) -> Manifest:
    """Return the manifest of a kit after every file was held against it; raise `KitInvalid`."""
    try:
        data = (folder / "manifest.json").read_bytes()
        manifest = msgspec.json.decode(data, type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise KitInvalid(f"{folder} holds no kit ({type(error).__name__})") from None
    if not compare_digest(sha256(data).hexdigest(), digest):
        raise KitInvalid(f"{folder} is not the kit that control knows of")
    found = _list_files(folder)
    for name in sorted({*found, *manifest.files}):
        if found.get(name) != manifest.files.get(name):
            raise KitInvalid(f"{name} is not what was packed")
    return manifest


def _list_files(folder: Path) -> dict[str, PackedFile]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    own = {"manifest.json", "manifest.note", "certificate.json", "certificate.note"}
    return {name: _describe_file(path) for name, path in names.items() if name not in own}


def _describe_file(path: Path) -> PackedFile:
    with path.open("rb") as content:
        digest, size = sha256(), 0
        while block := content.read(1 << 20):
            digest.update(block)
            size += len(block)
    return PackedFile(digest.hexdigest(), size)


def now_text() -> str:
    """Return the moment as a certificate writes it."""
    moment: datetime = utc_now()
    return moment.astimezone(UTC).isoformat()
