"""What makes evidence of events while the platform runs: the sequencer, its keys, and the witness."""

from pitboss.audit.runtime.keys import FileSigner, origin_of, read_key_file
from pitboss.audit.runtime.sequencer import CHECKPOINT_ENTRIES, CHECKPOINT_SECONDS, Sequencer, WitnessClient
from pitboss.audit.runtime.witness import Witness, WitnessPolicy, read_witness_file, serve_witness

__all__ = [
    "CHECKPOINT_ENTRIES",
    "CHECKPOINT_SECONDS",
    "FileSigner",
    "Sequencer",
    "Witness",
    "WitnessClient",
    "WitnessPolicy",
    "origin_of",
    "read_key_file",
    "read_witness_file",
    "serve_witness",
]
