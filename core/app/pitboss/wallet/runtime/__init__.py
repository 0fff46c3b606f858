"""Parts of the wallet that live as long as the process: lanes, and what posts their batches."""

from pitboss.wallet.runtime.decisions import Decision, Overtaken
from pitboss.wallet.runtime.lanes import AHEAD, MAX_BATCH, MAX_QUEUE, Lane, Lanes, Poster, Told
from pitboss.wallet.runtime.poster import DatabasePoster, LaneStore

__all__ = [
    "AHEAD",
    "MAX_BATCH",
    "MAX_QUEUE",
    "DatabasePoster",
    "Decision",
    "Lane",
    "LaneStore",
    "Lanes",
    "Overtaken",
    "Poster",
    "Told",
]
