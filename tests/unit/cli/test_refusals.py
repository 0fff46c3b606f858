"""What people mistype at a command is said in a line, before anything is asked of the platform or told in a log."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.factories.runs import PITBOSS

from pitboss.cli.audit import audit
from pitboss.cli.backup import backup
from pitboss.cli.rounds import rounds
from pitboss.cli.subject import subject
from pitboss.platform.settings import SettingsInvalid, child_environ
from pitboss.subjects.contracts import CaseReason

ID = "01a1ff78-163a-70ca-bbeb-e846af75575c"


@pytest.mark.parametrize(
    ("group", "words", "said"),
    [
        (audit, "package aurora --into new --since note", "note is no checkpoint"),
        (audit, "package aurora --into new --after folder", "folder is no package"),
        (rounds, f"prove aurora {ID} --into nowhere/proof.json", "there is no folder nowhere"),
        (subject, f"fetch aurora {ID} note", "note exists; an export is never written over"),
        (backup, "restore --to latest --discard --scratch .", ". is not empty"),
        (backup, "restore --to latest --discard --scratch note", "note is not empty"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    group: click.Group, words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note").write_text("no note\n")
    (tmp_path / "folder").mkdir()
    done = CliRunner(env={}).invoke(group, words.split())
    assert (done.exit_code, said in done.output) == (2, True), done.output
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "note"]
    assert (tmp_path / "note").read_text() == "no note\n"


def test_reasons_are_named_as_everywhere_else() -> None:
    words = ["step", "aurora", ID, "refused", *(word for each in CaseReason for word in ("--reason", each.value))]
    done = CliRunner(env={}).invoke(subject, words)
    assert isinstance(done.exception, SettingsInvalid), done.output


def test_a_folder_that_is_not_there_is_a_line_and_no_traceback(tmp_path: Path) -> None:
    words = ["subject", "fetch", "aurora", ID, str(tmp_path / "nowhere" / "file.zip")]
    done = subprocess.run([*PITBOSS, *words], env=child_environ({}), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pitboss: [Errno 2] No such file or directory")
    assert done.stderr.count("\n") == 1
