"""The command: checks a package or the proof of one entry, prints a report, and ends with 0, 1 or 2."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pitboss_verify.archive import ArchiveCheck
from pitboss_verify.kit import KitCheck, is_kit
from pitboss_verify.note import Checkpoint, Key, parse_checkpoint, parse_key
from pitboss_verify.package import PackageCheck, Report, check_record
from pitboss_verify.segment import check_round, check_segments, read_round
from pitboss_verify.stores import Store, open_store

SOUND, FINDINGS, NOT_CHECKED = 0, 1, 2


def read_keys(file: Path) -> list[Key]:
    """Return the public keys of a file, one a line; what follows a # is a comment."""
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return [parse_key(line) for line in lines if line]


def verify(package: Path | Store, keys: Sequence[Key], since: Checkpoint | None = None) -> Report:
    """Check a folder as a package, a tenant's kit, an archive or segments of a sealed log, a file as the proof of one entry or round."""
    if not isinstance(package, Path):
        return ArchiveCheck(package, keys, since).run()
    if package.is_dir():
        if is_kit(package):
            return KitCheck(package, keys).run()
        if any(package.glob("*.manifest")):
            return check_segments(package, keys, since)
        store = open_store(package)
        if store is not None:
            return ArchiveCheck(store, keys, since).run()
        return PackageCheck(package, keys, since).run()
    data = package.read_bytes()
    proof = read_round(data)
    return check_record(data, keys) if proof is None else check_round(proof, keys)


def run(arguments: Sequence[str], store: Store | None = None) -> int:
    """Read the arguments, check, print; return the code to end with. `store` is an archive that is no folder."""
    parser = argparse.ArgumentParser(prog="pitboss_verify", description=__doc__)
    parser.add_argument(
        "package", type=Path, help="folder of a package or of an archive, or file with the proof of one entry"
    )
    parser.add_argument(
        "--keys", type=Path, required=True, help="public keys, got from the operator once, by another way"
    )
    parser.add_argument("--since", type=Path, help="checkpoint of the last visit")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    try:
        keys = read_keys(given.keys)
        since = None if given.since is None else parse_checkpoint(given.since.read_text())
        report = verify(store or given.package, keys, since)
    except (OSError, ValueError) as error:
        print(f"not checked: {error}", file=sys.stderr)
        return NOT_CHECKED
    show(report, as_json=given.json)
    return FINDINGS if report.findings else SOUND


def show(report: Report, *, as_json: bool) -> None:
    """Print a report."""
    if as_json:
        print(json.dumps({"sound": not report.findings, **asdict(report)}, indent=2))
        return
    for finding in report.findings:
        print(f"{finding['check']}: {finding['detail']}")
    span = f"entries {report.first} to {report.end - 1}" if report.end > report.first else "no entries"
    seen = f"{report.origin or 'nothing'}: {span}, {report.checkpoints} checkpoints, {report.cosignatures} cosignatures"
    if report.packages:
        seen += f", {report.packages} packages, {report.locked} of {report.objects} objects seen locked"
    if report.unfinished is not None:
        seen += f", one more from {report.unfinished} on not whole yet"
    count = len(report.findings) + report.more
    print(f"{seen}: {f'{count} findings' if count else 'sound'}")


def main() -> None:
    """Run as a program."""
    sys.exit(run(sys.argv[1:]))
