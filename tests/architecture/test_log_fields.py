"""What the code wants to log may be logged: each field is on the allow-list."""

from __future__ import annotations

from pathlib import Path

from tests.architecture import shape

from pitboss.platform.telemetry import ALLOWED_FIELDS


def test_every_field_is_on_the_allow_list(root: Path) -> None:
    findings = list(shape.find_unlisted_log_fields(root, ALLOWED_FIELDS))
    assert not findings, "\n".join(findings)


def test_a_planted_field_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "core/app/pitboss/ledger/service.py"
    planted.parent.mkdir(parents=True)
    planted.write_text("_LOG.info('wallet.posted', tenant='a', email='x')\nself.log.error('a.b', exc_info=True)\n")
    (finding,) = shape.find_unlisted_log_fields(tmp_path, ALLOWED_FIELDS)
    assert "field email" in finding


def test_a_planted_sentence_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "core/app/pitboss/ledger/service.py"
    planted.parent.mkdir(parents=True)
    planted.write_text("_LOG.info('the batch was posted')\n")
    (finding,) = shape.find_unlisted_log_fields(tmp_path, ALLOWED_FIELDS)
    assert "no event name" in finding


def test_the_allow_list_has_no_personal_field() -> None:
    personal = {
        "email",
        "name",
        "first_name",
        "last_name",
        "ip",
        "phone",
        "address_line",
        "password",
        "token",
        "secret",
    }
    assert not personal & ALLOWED_FIELDS
