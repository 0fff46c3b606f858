"""Every hook: what a plugin may declare to the host, without I/O and without waiting.

A hook is a static method of the plugin's class, marked `@staticmethod` and then `@hookimpl`. It takes the arguments
of its specification here, or some of them, and returns at once. The host calls one plugin at a time; one that
raises, dawdles or returns something else is not asked again until the process ends, and is named on the status page.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pluggy
from msgspec import Meta

PROJECT = "pitboss"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class StatusFact(msgspec.Struct, frozen=True):
    """One thing that the people at the machine should know of a configured plugin; plain text, no secret."""

    label: Annotated[str, Meta(min_length=1, max_length=40)]
    value: Annotated[str, Meta(min_length=1, max_length=200)]
    is_warning: bool = False
    """Whether somebody should do something about it."""


@hookspec
def status_facts(config: Any) -> Annotated[tuple[StatusFact, ...], Meta(max_length=8)]:  # pyright: ignore[reportReturnType]
    """Return what the status page tells of a tenant's configuration: at most eight facts."""
