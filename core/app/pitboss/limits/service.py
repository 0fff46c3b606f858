"""Use cases of the limits."""

from __future__ import annotations

from pitboss.limits.store import list_limits, read_limits

__all__ = ["list_limits", "read_limits"]
