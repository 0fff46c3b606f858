"""What makes evidence of events while the platform runs: the sequencer, its keys, the witness, and seals."""

from pitboss.audit.runtime.keys import FileSigner, describe_keys, origin_of, read_key_file, sign_note
from pitboss.audit.runtime.packages import (
    PackageOrder,
    Packed,
    list_faults,
    prove_event,
    read_last_note,
    write_package,
)
from pitboss.audit.runtime.seals import Sealer, choose_years, place_of
from pitboss.audit.runtime.sequencer import CHECKPOINT_ENTRIES, CHECKPOINT_SECONDS, Sequencer, WitnessClient
from pitboss.audit.runtime.siem import Exporter
from pitboss.audit.runtime.witness import Witness, WitnessPolicy, describe_witness, read_witness_file, serve_witness

__all__ = [
    "CHECKPOINT_ENTRIES",
    "CHECKPOINT_SECONDS",
    "Exporter",
    "FileSigner",
    "PackageOrder",
    "Packed",
    "Sealer",
    "Sequencer",
    "Witness",
    "WitnessClient",
    "WitnessPolicy",
    "choose_years",
    "describe_keys",
    "describe_witness",
    "list_faults",
    "origin_of",
    "place_of",
    "prove_event",
    "read_key_file",
    "read_last_note",
    "read_witness_file",
    "serve_witness",
    "sign_note",
    "write_package",
]
