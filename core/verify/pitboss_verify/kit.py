"""Reads a tenant's kit and says everything that is wrong with it: files, rows, the ledger's sums and the audit log."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pitboss_verify.note import LOG_KEY, Key, Malformed, is_signed_by, parse_checkpoint, parse_note
from pitboss_verify.package import MAX_LINE_BYTES, PackageCheck, Report

FORMAT = "pitboss-tenant-kit/1"
CERTIFICATE = "pitboss-move-certificate/1"
_UNLISTED = frozenset(("manifest.json", "manifest.note", "certificate.json", "certificate.note"))
_BUCKETS = ("real", "bonus", "held", "debt")


def is_kit(folder: Path) -> bool:
    """Return whether a folder says that it is a kit."""
    try:
        return bool(json.loads((folder / "manifest.json").read_bytes())["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


class KitCheck:
    """One pass over one kit: keys come from whoever checks, everything else from the folder."""

    def __init__(self, folder: Path, keys: Sequence[Key]) -> None:
        self._folder = folder
        self._keys = list(keys)
        self._manifest: dict[str, Any] = {}
        self._log: dict[str, Any] = {}
        self.report = Report()

    def run(self) -> Report:
        """Check everything that can still be checked after what was found before."""
        raw = (self._folder / "manifest.json").read_bytes()
        self.report.manifest = sha256(raw).hexdigest()
        try:
            self._manifest = json.loads(raw)
            self._log = self._manifest["log"]
            self.report.origin = self._log["origin"]
            self._check_files()
            self._check_note("manifest.note", [FORMAT, self.report.origin, self.report.manifest], others=False)
            self._check_log()
            self._check_tables()
            self._check_ledger()
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            self.report.find("manifest", f"the kit is not what it must be: {type(error).__name__} {error}")
        self._check_certificate()
        return self.report

    def _check_files(self) -> None:
        """Every file has its digest, and no file is there that has none."""
        named = set(self._manifest["files"])
        there = {path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if not path.is_dir()}
        for name in sorted(there - named - _UNLISTED):
            self.report.find("manifest", f"{name} is not in the manifest")
        for name in sorted(named):
            wanted, digest, size = self._manifest["files"][name], sha256(), 0
            if ".." in Path(name).parts or Path(name).is_absolute():
                self.report.find("manifest", f"{name} lies outside of the kit")
                continue
            try:
                with (self._folder / name).open("rb") as content:
                    while block := content.read(1 << 20):
                        digest.update(block)
                        size += len(block)
            except OSError:
                self.report.find("manifest", f"{name} is missing or cannot be read")
                continue
            if (size, digest.hexdigest()) != (wanted["bytes"], wanted["sha256"]):
                self.report.find("manifest", f"{name} is not the file that was packed")

    def _check_note(self, name: str, wanted: list[str], *, others: bool) -> None:
        """The key of the log has signed; with `others`, a key of another log of the list may have."""
        try:
            text, signatures = parse_note((self._folder / name).read_text())
        except (OSError, Malformed, UnicodeDecodeError) as error:
            self.report.find("signature", f"{name} is none: {error}")
            return
        if text.splitlines() != wanted:
            self.report.find("signature", f"{name} is about something else")
        keys = [key for key in self._keys if key.algorithm == LOG_KEY and (others or key.name == self.report.origin)]
        if not any(is_signed_by(text, each, key) is not None for each in signatures for key in keys):
            self.report.find("signature", f"{name} is not signed by a key that was given")

    def _check_log(self) -> None:
        """The audit log proves itself, and ends where the manifest says."""
        found = PackageCheck(self._folder / "log", self._keys).run()
        for finding in found.findings:
            self.report.find(finding["check"], f"log: {finding['detail']}")
        self.report.end, self.report.entries = found.end, found.entries
        self.report.checkpoints, self.report.cosignatures = found.checkpoints, found.cosignatures
        last = (self._folder / "log" / "checkpoints.jsonl").read_text().splitlines()[-1]
        root = parse_checkpoint(json.loads(last)["note"]).root.hex()
        if (found.origin, found.end, root) != (self.report.origin, self._log["size"], self._log["root"]):
            self.report.find("log", "the log ends otherwise than the manifest says")

    def _check_tables(self) -> None:
        for name, wanted in self._manifest["tables"].items():
            digest, count = sha256(), 0
            for line in self._lines(name):
                digest.update(line)
                count += 1
            if (count, digest.hexdigest()) != (wanted["rows"], wanted["sha256"]):
                self.report.find("rows", f"{name} holds other rows than were packed")

    def _lines(self, table: str) -> Iterator[bytes]:
        file = self._manifest["tables"][table]["file"]
        if ".." in Path(file).parts or Path(file).is_absolute():
            raise Malformed(f"{file} lies outside of the kit")
        try:
            with gzip.open(self._folder / file) as lines:
                yield from iter(lambda: lines.readline(MAX_LINE_BYTES), b"")
        except (OSError, EOFError, zlib.error) as error:
            self.report.find("rows", f"{file} cannot be read to its end ({type(error).__name__})")

    def _rows(self, table: str) -> Iterator[dict[str, Any]]:
        for line in self._lines(table):
            yield json.loads(line)

    def _check_ledger(self) -> None:
        """Each wallet stands where its bookings lead, each account of the house too, and every currency adds up to zero."""
        moved: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        countered: dict[int, int] = defaultdict(int)
        for row in self._rows("journal"):
            deltas = [row[f"d_{bucket}"] for bucket in _BUCKETS]
            sums = moved[row["wallet_id"]]
            sums[:] = [before + delta for before, delta in zip(sums, deltas, strict=True)]
            countered[row["account_id"]] += 2 * deltas[3] - sum(deltas)
        totals: dict[str, int] = defaultdict(int)
        players: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
        for row in self._rows("wallet"):
            held = [row[f"{bucket}_minor"] for bucket in _BUCKETS]
            if held != moved.pop(row["wallet_id"], [0, 0, 0, 0]):
                self.report.find("ledger", f"wallet {row['wallet_id']} does not stand where its bookings lead")
            sums = players[row["currency"]]
            sums[:] = [before + more for before, more in zip(sums, [1, *held], strict=True)]
            totals[row["currency"]] += sum(held) - 2 * held[3]
        for wallet in moved:
            self.report.find("ledger", f"there are bookings of wallet {wallet}, which is not in the kit")
        self._compare_sums(players, countered, totals)

    def _compare_sums(self, players: dict[str, list[int]], countered: dict[int, int], totals: dict[str, int]) -> None:
        names = ("wallets", *(f"{bucket}_minor" for bucket in _BUCKETS))
        told = self._manifest["sums"]
        if {currency: [sums[name] for name in names] for currency, sums in told["players"].items()} != dict(players):
            self.report.find("ledger", "the wallets add up to other sums than the manifest says")
        balances: dict[int, int] = defaultdict(int)
        for row in self._rows("house_balance"):
            balances[row["account_id"]] += row["folded_minor"]
        for row in self._rows("house_delta"):
            balances[row["account_id"]] += row["delta_minor"]
        for account in told["house"]:
            number = account["account_id"]
            totals[account["currency"]] += countered[number]
            if not account["balance_minor"] == countered[number] == balances[number]:
                self.report.find("ledger", f"house account {number} does not stand where its bookings lead")
        for currency, total in sorted(totals.items()):
            if total:
                self.report.find("ledger", f"{currency} does not add up: {total} minor units are left over")

    def _check_certificate(self) -> None:
        """A kit that a move left behind tells of it, signed."""
        file = self._folder / "certificate.json"
        if not file.exists():
            return
        data = file.read_bytes()
        self._check_note("certificate.note", [CERTIFICATE, sha256(data).hexdigest()], others=True)
        try:
            found = json.loads(data)
            if (found["manifest"], found["sums"]) != (self.report.manifest, self._manifest["sums"]):
                self.report.find("certificate", "the certificate is of another kit")
        except (ValueError, KeyError, TypeError) as error:
            self.report.find("certificate", f"the certificate is none: {type(error).__name__}")
