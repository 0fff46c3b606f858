"""Mail: messages are written into a spool folder, from which a channel sends them."""

from __future__ import annotations

import os
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path

from pitboss.kernel.clock import epoch_seconds


class MailSpool:
    """A folder of `.eml` files (RFC 5322, UTF-8 as in RFC 6532), one a message, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prune(self, prefix: str, keep: timedelta) -> int:
        """Remove messages that are named by `prefix` and a UUID and older than `keep`; return how many."""
        oldest = epoch_seconds() - keep.total_seconds()
        # As long as a UUID, so that no message of a tenant whose slug begins like another's is taken for that one's.
        old = [path for path in self._folder.glob(f"{prefix}{'?' * 36}.eml") if path.stat().st_mtime < oldest]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def put(self, name: str, *, sender: str, recipient: str, subject: str, body: str, language: str) -> Path:
        """Write a message under `name`, whole or not at all; the same name again replaces it."""
        message = EmailMessage(policy=SMTPUTF8)
        message["From"] = sender
        message["To"] = recipient
        message["Subject"] = subject
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body)
        message["Content-Language"] = language  # after the content, which clears what is said about content
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._folder / f"{name}.eml"
        partial = target.with_suffix(".part")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(message.as_bytes())
        partial.replace(target)
        return target
