"""Errors of the plugin host that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class FileInvalid(PitbossError):
    """A file does not say what it must; `file`, `key` and `reason` say what is wrong where."""

    code = "plughost.file_invalid"
    kind = ErrorKind.INVALID

    def __init__(self, file: str, key: str, reason: str) -> None:
        super().__init__(f"{file}: {key}: {reason}" if key else f"{file}: {reason}")
        self.file = file
        self.key = key
        self.reason = reason


class PluginUnavailable(PitbossError):
    """The plugin is not installed, or a gate holds it back; the detail says which."""

    code = "plughost.plugin_unavailable"
    kind = ErrorKind.INVALID


class PluginNotEnabled(PitbossError):
    code = "plughost.plugin_not_enabled"
    kind = ErrorKind.NOT_FOUND


class LocalityRefused(PitbossError):
    """The vendor may not process data of this locality."""

    code = "plughost.locality_refused"
    kind = ErrorKind.REFUSED


class WebhookForged(PitbossError):
    """The call cannot be the vendor's: it is signed wrongly, or not at all. Nothing of it is kept."""

    code = "plughost.webhook_forged"
    kind = ErrorKind.FORBIDDEN


class WebhookStale(PitbossError):
    """The time that the vendor signed is too far from ours, either way."""

    code = "plughost.webhook_stale"
    kind = ErrorKind.INVALID


class WebhookNotForUs(PitbossError):
    """The vendor sent this to another of its customers."""

    code = "plughost.webhook_not_for_us"
    kind = ErrorKind.INVALID


class WebhooksNotTaken(PitbossError):
    """The tenant has no such plugin, or the plugin takes no webhooks."""

    code = "plughost.webhooks_not_taken"
    kind = ErrorKind.NOT_FOUND


class ReceiverUnavailable(PitbossError):
    """The plugin could not say whose the call is; the same call may succeed later."""

    code = "plughost.receiver_unavailable"
    kind = ErrorKind.UNAVAILABLE


class ReceiverHeld(ReceiverUnavailable):
    """The plugin failed again and again and is not asked for a while; that is no fault of the event that waits."""

    code = "plughost.receiver_held"
