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
