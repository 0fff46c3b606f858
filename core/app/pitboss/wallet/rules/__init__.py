"""Pure decisions of the wallet: `movements` is the arithmetic, `batch` walks a batch request by request."""

from pitboss.wallet.rules.batch import BatchFacts, BatchWalk
from pitboss.wallet.rules.movements import SpendOrder

__all__ = ["BatchFacts", "BatchWalk", "SpendOrder"]
