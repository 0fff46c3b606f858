"""What seals bookings while the platform runs, and what proves and checks them afterwards."""

from pitboss.evidence.rules import origin_of
from pitboss.evidence.runtime.checking import check_segments
from pitboss.evidence.runtime.objects import count_stored
from pitboss.evidence.runtime.proving import export_segments, prove_round
from pitboss.evidence.runtime.sealer import SEAL_ENTRIES, SEAL_SECONDS, Sealer

__all__ = [
    "SEAL_ENTRIES",
    "SEAL_SECONDS",
    "Sealer",
    "check_segments",
    "count_stored",
    "export_segments",
    "origin_of",
    "prove_round",
]
