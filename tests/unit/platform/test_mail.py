"""The spool of mail: what is old goes, and only what is the tenant's."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from pitboss.kernel.clock import epoch_seconds
from pitboss.kernel.ids import new_uuid
from pitboss.platform.mail import MailSpool


def test_old_messages_of_a_tenant_go_and_no_others(tmp_path: Path) -> None:
    spool = MailSpool(tmp_path)
    day = timedelta(days=1)

    def put(slug: str, hours: float) -> Path:
        path = spool.put(
            f"{slug}-{new_uuid()}", sender="a@b.example", recipient="c@d.example", subject="s", body="b", language="en"
        )
        moment = epoch_seconds() - hours * 3600
        os.utime(path, (moment, moment))
        return path

    old, fresh = put("aurora", 25), put("aurora", 23)
    others = [put("aurora-live", 25), put("jade", 25)]
    assert spool.prune("aurora-", day) == 1
    assert spool.prune("aurora-", day) == 0
    assert sorted(tmp_path.iterdir()) == sorted([fresh, *others])
    assert not old.exists()
    assert MailSpool(tmp_path / "none").prune("aurora-", day) == 0
