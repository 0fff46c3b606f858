"""Use cases of the wallet: legs for rooms above, and movements that operators ask for by hand."""

from __future__ import annotations

from datetime import datetime

from pitboss.kernel.scope import TenantScope
from pitboss.ledger.contracts import Op
from pitboss.ledger.rules import compute_content_hash, compute_key
from pitboss.wallet.contracts import LegRequest, WalletRequest, WalletResult
from pitboss.wallet.errors import MovementRefused
from pitboss.wallet.runtime import Lanes

MANUAL_SOURCE = "manual"
"""The maker of references that operators type."""
SYSTEM_SOURCE = "system"
"""The maker of references that the platform derives."""
MANUAL_PATIENCE_MS = 2_000


def make_leg(
    op: Op,
    wallet_id: int,
    reference: str,
    amount_minor: int,
    account_id: int,
    *,
    context: str = "",
    reverses: str = "",
    expires_at: datetime | None = None,
) -> LegRequest:
    """Return a leg with its key and content hash; `context` is what else must be the same in a repetition."""
    return LegRequest(
        op,
        reference,
        compute_key(reference),
        compute_content_hash(op, wallet_id, amount_minor, context, reverses),
        amount_minor,
        account_id,
        compute_key(reverses) if reverses else None,
        expires_at,
    )


async def post_movement(
    lanes: Lanes, scope: TenantScope, *, source_id: int, leg: LegRequest, wallet_id: int
) -> WalletResult:
    """Post one leg through a lane; raise `MovementRefused` when it is refused.

    The same reference with the same content again gives the first answer.
    """
    request = WalletRequest(scope.tenant_id, wallet_id, source_id, (leg,))
    result = await lanes.submit(request, patience_ms=MANUAL_PATIENCE_MS)
    if result.refusal is not None:
        raise MovementRefused(result.refusal, result.detail)
    return result
