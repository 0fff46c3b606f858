"""What the code wants to tell may be told: each field of each log line and span is on the list of its class."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.architecture import told

from pitboss.platform.fields import FIELDS

PERSONAL = (
    "email name first_name last_name full_name birth_date ip phone address_line city postcode country device agent password token secret "
    "player player_id account wallet"
)


def test_every_call_tells_only_what_may_be_told(root: Path) -> None:
    assert list(told.find_faults(root, set(FIELDS))) == []


PLANTED = {
    "_LOG.info('wallet.posted', tenant='a', email='x')": "field email",
    "self._log.error('a.b', exc_info=True, ip=request.client.host)": "field ip",
    "_LOG.info('the batch was posted')": "no event name",
    "_LOG.info(f'posted.{email}')": "no event name",
    "_LOG.info('a.b', email)": "by its place",
    "_LOG.info('a.b', **fields)": "not written out",
    "_LOG.info('a.b', **{'email': x})": "field email",
    "_LOG.warning('a.b', problem=error.detail)": "free text",
    "_LOG.warning('a.b', problem=str(error))": "somebody's text",
    "_LOG.warning('a.b', problem=f'no {email}')": "put together",
    "_LOG.warning('a.b', problem='no %s' % email)": "put together",
    "_LOG.warning('a.b', problem=repr(error))": "put together",
    "_LOG.bind(email=email).info('a.b')": "where the line is written",
    "structlog.get_logger('x').info('a.b', email=x)": "field email",
    "tale = structlog.get_logger()\ntale.info('a.b', phone=x)": "field phone",
    "logging.getLogger('x').info('%s', email)": "goes around",
    "with span(SpanName.JOB_RUN, email=x):\n    pass": "field email",
    "with span(f'job {email}'):\n    pass": "SpanName",
    "traced.note(player_id=7)": "field player_id",
    "record_past(SpanName.WALLET_CALL, 1.0, player=x)": "field player",
}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_leak_is_found(tmp_path: Path, code: str) -> None:
    planted = tmp_path / "core/app/pitboss/ledger/service.py"
    planted.parent.mkdir(parents=True)
    planted.write_text(f"{code}\n")
    found = list(told.find_faults(tmp_path, set(FIELDS)))
    assert len(found) == 1, found
    assert PLANTED[code] in found[0]


def test_the_list_has_no_personal_field() -> None:
    assert not set(PERSONAL.split()) & set(FIELDS)
