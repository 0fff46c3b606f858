"""The steps of a tenant's move, one after the other, each safe to repeat; and packing a tenant as it stands.

What makes them safe: control's register says how far a move is, a step writes that last, and each does again what an
interrupted one may have done. Nothing of the source is removed before the target was compared and serves.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shlex
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import click
import msgspec

import pitboss.audit.service as audit
import pitboss.directory.service as directories
import pitboss.hosting.service as hosting
import pitboss.keys.service as keys
import pitboss.relocation.service as relocation
import pitboss.tenancy.service as tenancy
from pitboss.audit.contracts import Change, EventFilter
from pitboss.audit.runtime import (
    FileSigner,
    PackageOrder,
    Sequencer,
    describe_keys,
    origin_of,
    read_key_file,
    sign_note,
    write_package,
)
from pitboss.cli.ledger import prove_tenant
from pitboss.cli.tenant_apply import Deployment
from pitboss.directory.contracts import PublicKey
from pitboss.directory.runtime import REFRESH_SECONDS
from pitboss.hosting.contracts import TenantOrder
from pitboss.hosting.runtime import CellDesk
from pitboss.kernel.clock import utc_now
from pitboss.kernel.scope import TenantScope
from pitboss.keys.runtime import KeyRing
from pitboss.platform.db import ContextSigner, Database, create_engine
from pitboss.platform.keys import open_key_service
from pitboss.platform.keys.service import WrappedKey
from pitboss.platform.objects import ObjectFolder
from pitboss.platform.redis import CellRedis
from pitboss.platform.secrets import SecretStore
from pitboss.platform.settings import PREFIX, Settings, SettingsInvalid, load_settings, require, require_all
from pitboss.plughost.runtime import load_host, read_cell_file
from pitboss.relocation.contracts import CERTIFICATE_FORMAT, CellReport, LogFacts, Move, MoveState
from pitboss.relocation.errors import CellsDiffer, KitInvalid, MoveRefused
from pitboss.relocation.runtime import CellEnd, Say, list_differences, now_text, read_manifest
from pitboss.tenancy.contracts import CellPlace, TenantRecord
from pitboss_verify.command import verify
from pitboss_verify.note import parse_checkpoint, parse_key

POLITE_SECONDS: Final = 2 * REFRESH_SECONDS + 1
"""Every process has read the directory, and answers that the tenant moves, before the database itself refuses."""


def read_cell_settings(file: Path) -> Settings:
    """Return the settings of a cell out of a file of `export NAME=value` lines; raise `SettingsInvalid`."""
    values: dict[str, str] = {}
    for word in shlex.split(file.read_text(), comments=True):
        name, separator, value = word.partition("=")
        if separator and name.startswith(PREFIX):
            values[name] = value
    settings = load_settings(values)
    require_all(
        settings,
        "admin_database_url",
        "cell_database_url",
        "cell_sequencer_database_url",
        "context_keys",
        "directory_public_keys",
        "audit_keys_file",
        "secrets_file",
    )
    return settings


class End:
    """A cell of a move as the steps reach it: its settings, logins and keys."""

    def __init__(self, settings: Settings, record: TenantRecord) -> None:
        self.settings = settings
        self.scope = TenantScope(record.tenant_id, record.slug, settings.cell)
        self.contexts = ContextSigner(require(settings, "context_keys"))
        database = require(settings, "cell_database_url").rpartition("/")[2]
        admin = require(settings, "admin_database_url").rpartition("/")[0]
        self.rows = CellEnd(f"{admin}/{database}", self.contexts, self.scope, settings.locality)
        self.signer = FileSigner(require(settings, "audit_keys_file"))
        self.objects = ObjectFolder(settings.objects_dir, settings.cell)
        self.ring = KeyRing(open_key_service(settings), settings.cell)
        self.engine = create_engine(require(settings, "cell_database_url"), pool_size=1)
        self.database = Database(self.engine, settings.cell, self.contexts)
        self.public_keys = [PublicKey(key.key_id, key.raw) for key in settings.directory_public_keys]

    @property
    def place(self) -> CellPlace:
        """The cell as its own file describes it; raise `SettingsInvalid` where file and settings disagree."""
        found = read_cell_file(self.settings.cell_file)
        if (found.cell, found.locality) != (self.settings.cell, self.settings.locality):
            raise SettingsInvalid(
                f"{self.settings.cell_file} is of {found.cell} in {found.locality},"
                f" the settings are of {self.settings.cell} in {self.settings.locality}"
            )
        return CellPlace(found.cell, found.locality, found.address)

    def desk(self) -> CellDesk:
        """Return what answers control in this cell."""
        return CellDesk(
            self.database,
            locality=self.settings.locality,
            host=load_host(read_cell_file(self.settings.cell_file)),
            directory_keys=self.public_keys,
            secrets=SecretStore(require(self.settings, "secrets_file")),
            ring=self.ring,
        )

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[End]:
        """Connect, and let go at the end."""
        try:
            async with self.rows:
                yield self
        finally:
            await self.engine.dispose()
            await self.ring.service.close()


async def pack(end: End, kit: Path, say: Say, *, still: bool) -> tuple[str, LogFacts]:
    """Write a tenant's log and rows into a new folder; return the digest of its manifest, and the end of the log.

    A kit that an interruption left is made anew; raises `MoveRefused` for a folder that holds anything else. With
    `still` nobody writes for the tenant, and the log is taken to its very end; else to where it is signed now.
    """
    fresh = kit.with_name(f".{kit.name}.new")
    _make_room(kit, fresh)
    url = require(end.settings, "cell_sequencer_database_url")
    sequencer = Sequencer(url, end.contexts, end.signer, list, checkpoint_seconds=0)
    size = await sequencer.complete(end.scope, still=still)
    say(f"the audit log has {size} entries under a checkpoint")
    engine = create_engine(url, pool_size=1)
    try:
        async with Database(engine, end.settings.cell, end.contexts).snapshot(end.scope) as session:
            packed = await write_package(session, end.scope, end.signer, fresh / "log", PackageOrder())
    finally:
        await engine.dispose()
    end.objects.take_out(end.scope, fresh / "objects")
    log = LogFacts(packed.origin, packed.end, read_root(fresh / "log"))
    digest = await end.rows.pack(fresh, log, lambda text: sign_note(end.signer, packed.origin, text), say)
    fresh.rename(kit)
    return digest, log


def _make_room(kit: Path, fresh: Path) -> None:
    if kit.exists() and any(kit.iterdir()) and not (kit / "manifest.json").exists():
        raise MoveRefused(f"{kit} holds something else than a kit; nothing was written")
    for leftover in (fresh, kit):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)


def read_root(package: Path) -> str:
    """Return the root of the last checkpoint of a package, hexadecimal."""
    last = (package / "checkpoints.jsonl").read_text().splitlines()[-1]
    return parse_checkpoint(json.loads(last)["note"]).root.hex()


async def write_keys(end: End, kit: Path, file: Path) -> int:
    """Write the opened keys of a kit's epochs into a private file and return how many; with them its fields open."""
    opened: dict[str, str] = {}
    with gzip.open(kit / "tables" / "key_epoch.jsonl.gz") as lines:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            if row["wrapped_key"] is not None:
                wrapped = WrappedKey(row["key_version"], bytes.fromhex(row["wrapped_key"][2:]))
                opened[str(row["epoch"])] = (await end.ring.unwrap_epoch(end.scope, row["epoch"], wrapped)).hex()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
        json.dump({"tenant_id": end.scope.tenant_id, "epochs": opened}, written, indent=1)
    return len(opened)


class Mover:
    """One move, step by step; `kit` is the folder that it goes by, in the locality of both cells."""

    def __init__(self, deployment: Deployment, slug: str, ends: tuple[End, End], kit: Path, say: Say) -> None:
        self._deployment = deployment
        self._slug = slug
        self._source, self._target = ends
        self._kit = kit
        self._say = say

    async def run(self, until: MoveState) -> Move:
        """Bring the move as far as `until`, from where it is."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._deployment.alone())
            for end in (self._source, self._target):
                await stack.enter_async_context(end.open())
            move = await self._plan()
            steps: dict[MoveState, Callable[[Move], Any]] = {
                MoveState.PLANNED: self._freeze,
                MoveState.FROZEN: self._export,
                MoveState.EXPORTED: self._import,
                MoveState.IMPORTED: self._compare,
                MoveState.COMPARED: self._switch,
                MoveState.SWITCHED: self._shred,
            }
            while move.state is not until and move.state in steps:
                before = move.state
                move = await steps[before](move)
                self._say(f"{self._slug}: {before} → {move.state}")
            return move

    async def roll_back(self) -> Move:
        """Give the move up: nothing stays in the target, and the source serves again; raise `MoveRefused` too late."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._deployment.alone())
            for end in (self._source, self._target):
                await stack.enter_async_context(end.open())
            async with self._deployment.control.transaction() as session:
                _, move = await relocation.find_move(session, self._slug)
            if move is None or move.state is MoveState.SWITCHED:
                raise MoveRefused(f"{self._slug} is not on its way, or lives in its new cell by now")
            self._demand_places(move)
            removed = await self._target.rows.shred()
            await keys.destroy_tenant_key(self._target.ring, self._target.scope)
            self._say(f"{removed} rows removed from {self._target.settings.cell}")
            self._target.objects.forget_tenant(self._target.scope)
            await self._source.rows.thaw()
            move = await self._advance(MoveState.ROLLED_BACK)
            await self._tell(self._source, self._target)
            return move

    def _demand_places(self, move: Move) -> None:
        given = (self._source.settings.cell, self._target.settings.cell)
        if (move.source, move.target) != given:
            raise MoveRefused(f"{self._slug} moves from {move.source} to {move.target}, not from {' to '.join(given)}")

    async def _plan(self) -> Move:
        by = self._deployment.by
        async with self._deployment.control.transaction() as session:
            record, running = await relocation.find_move(session, self._slug)
        if running is None:
            await self._rehearse(record)
        async with self._deployment.control.transaction() as session:
            move = await relocation.plan_move(session, self._slug, self._source.place, self._target.place, by)
        self._demand_places(move)
        return move

    async def _rehearse(self, record: TenantRecord) -> None:
        """Raise what would stop the move half-way, as long as nothing has begun."""
        if record.cell != self._source.settings.cell or record.cell == self._target.settings.cell:
            raise MoveRefused(f"{record.slug} lives in {record.cell}: it moves from there to another cell")
        if self._source.place.locality != self._target.place.locality:
            raise MoveRefused("the cells lie in different localities: data does not leave its zone")
        if await self._source.rows.describe() != await self._target.rows.describe():
            raise MoveRefused("the cells have other tables: bring both to one version first")
        held = await self._target.rows.count()
        if held:
            raise MoveRefused(f"{self._target.settings.cell} holds rows of {self._slug}: {', '.join(sorted(held))}")
        source = _order(record, self._source.settings.cell)
        found = await self._source.desk().read(source, self._deployment.by)
        plugins = {each.slug: each.config for each in found.plugins}
        order = msgspec.structs.replace(source, cell=self._target.settings.cell, plugins=plugins, policy=found.policy)
        host = load_host(read_cell_file(self._target.settings.cell_file))
        secrets = SecretStore(require(self._target.settings, "secrets_file"))
        problems = hosting.find_secret_problems(order, host, secrets)
        if problems:
            raise MoveRefused(f"{self._target.settings.cell} cannot serve {self._slug}: {'; '.join(problems)}")
        hosting.read_policy(order, host, utc_now())

    async def _advance(self, after: MoveState, **facts: Any) -> Move:
        async with self._deployment.control.transaction() as session:
            key, by = self._deployment.signing_key, self._deployment.by
            return await relocation.advance(session, self._slug, after, key, by, **facts)

    async def _tell(self, *ends: End) -> None:
        """Give cells the directories that control has published, in this order."""
        for end in ends:
            async with self._deployment.control.transaction() as session:
                signed = await tenancy.find_published(session, end.settings.cell)
            if signed is not None:
                async with end.database.cell_transaction() as session:
                    await directories.store_snapshot(session, signed, cell=end.settings.cell, keys=end.public_keys)

    async def _record_once(self, end: End, event: str, move: Move, changes: tuple[Change, ...] = ()) -> None:
        async with end.database.transaction(end.scope) as session:
            wanted = EventFilter(type=event, target=f"move:{move.move_id}")
            if not (await audit.list_events(session, end.scope, wanted)).items:
                await relocation.record_in_cell(session, end.scope, event, move, self._deployment.by, changes)

    async def _freeze(self, move: Move) -> Move:
        await self._record_once(self._source, "move.left", move)
        return await self._advance(MoveState.FROZEN)

    async def _export(self, _: Move) -> Move:
        await self._tell(self._source)
        self._say(f"every process of {self._source.settings.cell} hears of it within {POLITE_SECONDS} s")
        await asyncio.sleep(POLITE_SECONDS)
        await self._source.rows.freeze()
        digest, log = await pack(self._source, self._kit, self._say, still=True)
        return await self._advance(MoveState.EXPORTED, manifest=digest, log_size=log.size, log_root=log.root)

    async def _import(self, move: Move) -> Move:
        manifest = read_manifest(self._kit, move.manifest)
        self._check_log(move)
        if await self._target.rows.is_empty():
            ends = ((self._source.ring, self._source.scope), (self._target.ring, self._target.scope))

            async def carry(row: dict[str, Any]) -> dict[str, Any]:
                wrapped = WrappedKey(row["key_version"], bytes.fromhex(row["wrapped_key"][2:]))
                carried = await keys.carry_epoch(*ends, row["epoch"], wrapped)
                return {**row, "wrapped_key": f"\\x{carried.sealed.hex()}", "key_version": carried.version}

            await self._target.rows.unpack(self._kit, manifest, carry, self._say)
            self._say("all rows are committed")
        else:  # an import that was committed and not noted; the comparison tells whether it is this one
            await self._demand_same()
        self._target.objects.bring_in(self._target.scope, self._kit / "objects")
        return await self._advance(MoveState.IMPORTED)

    def _check_log(self, move: Move) -> None:
        origin = origin_of(self._source.settings.cell, self._slug)
        file = require(self._source.settings, "audit_keys_file")
        known = [key.public_key().public_bytes_raw() for key in read_key_file(file)]
        report = verify(self._kit / "log", [parse_key(line) for line in describe_keys(origin, known)])
        if report.findings or (report.end, read_root(self._kit / "log")) != (move.log_size, move.log_root):
            raise KitInvalid(f"the log in the kit does not prove itself: {report.findings[:3]}")

    async def _demand_same(self) -> CellReport:
        source, target = await self._source.rows.report(), await self._target.rows.report()
        differences = list_differences(source, target)
        if differences:
            raise CellsDiffer("; ".join(differences[:5]))
        return source

    async def _compare(self, _: Move) -> Move:
        report = await self._demand_same()
        self._say(f"{sum(each.rows for each in report.tables.values())} rows and all sums are the same in both cells")
        proof = await prove_tenant(self._target.database, self._target.scope)
        if proof.findings:
            raise CellsDiffer(f"the books of the target do not prove: {proof.findings[0].detail}")
        return await self._advance(MoveState.COMPARED)

    async def _switch(self, move: Move) -> Move:
        changes = (Change("log_size", None, move.log_size), Change("log_root", None, move.log_root))
        await self._record_once(self._target, "move.arrived", move, changes)
        return await self._advance(MoveState.SWITCHED)

    async def _shred(self, move: Move) -> Move:
        await self._tell(self._target, self._source)
        removed = await self._source.rows.shred()
        left = await self._source.rows.count()
        if left:
            raise CellsDiffer(f"{self._source.settings.cell} still holds rows in {', '.join(sorted(left))}")
        self._source.objects.forget_tenant(self._source.scope)
        redis_keys = await self._forget_redis()
        await keys.destroy_tenant_key(self._source.ring, self._source.scope)
        self._say(
            f"{removed} rows and {redis_keys} Redis keys removed from {self._source.settings.cell}, its key destroyed"
        )
        digest = await self._certify(move, redis_keys)
        return await self._advance(MoveState.SHREDDED, certificate=digest)

    async def _forget_redis(self) -> int:
        if self._source.settings.redis_url is None:
            return 0
        redis = CellRedis(self._source.settings.redis_url, self._source.settings.cell)
        try:
            return await redis.forget_tenant(self._source.scope)
        finally:
            await redis.close()

    async def _certify(self, move: Move, redis_keys: int) -> str:
        """Write what was moved and removed, signed with the keys of both cells, and return its digest."""
        manifest = read_manifest(self._kit, move.manifest)
        content = {
            "format": CERTIFICATE_FORMAT,
            "move": str(move.move_id),
            "tenant": self._slug,
            "source": move.source,
            "target": move.target,
            "locality": self._source.settings.locality,
            "began_at": move.started_at.isoformat(),
            "removed_at": now_text(),
            "manifest": move.manifest,
            "rows": {name: file.rows for name, file in manifest.tables.items()},
            "sums": msgspec.to_builtins(manifest.sums),
            "log": msgspec.to_builtins(manifest.log),
            "removed_from_source": {"redis_keys": redis_keys, "rows_left": 0, "tenant_key": "destroyed"},
            "backups": "copies of the source made before removed_at hold these rows until they are deleted; "
            "fields that were sealed in them open no more",
        }
        data = json.dumps(content, indent=1, sort_keys=True).encode()
        digest = sha256(data).hexdigest()
        notes = [
            await sign_note(end.signer, origin_of(end.settings.cell, self._slug), f"{CERTIFICATE_FORMAT}\n{digest}\n")
            for end in (self._source, self._target)
        ]
        text, _, first = notes[0].partition("\n\n")
        (self._kit / "certificate.json").write_bytes(data)
        (self._kit / "certificate.note").write_text(f"{text}\n\n{first}{notes[1].partition(chr(10) * 2)[2]}")
        return digest


def _order(record: TenantRecord, cell: str) -> TenantOrder:
    return TenantOrder(
        tenant_id=record.tenant_id,
        slug=record.slug,
        cell=cell,
        locality=record.locality,
        currencies=record.currencies,
        plugins={plugin: {} for plugin in record.plugins},
        packs=record.packs,
    )


def say(line: str) -> None:
    """Tell people how far it is."""
    click.echo(line, err=True)
