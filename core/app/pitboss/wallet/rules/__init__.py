"""Pure decisions of the wallet: `movements` is the arithmetic, `awards` keeps bonus money, `batch` walks request by request."""

from pitboss.wallet.rules.batch import BatchWalk
from pitboss.wallet.rules.draft import BatchFacts

__all__ = ["BatchFacts", "BatchWalk"]
