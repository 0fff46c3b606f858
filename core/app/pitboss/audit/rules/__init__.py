"""What of an event may stand in the log, what the log may be asked for, and the bytes and hashes that prove it."""

from pitboss.audit.rules.filters import check_filter, mask_change, may_be_sealed

__all__ = ["check_filter", "mask_change", "may_be_sealed"]
