"""`pitboss player`: what an engineer at the machine does for one player."""

from __future__ import annotations

import asyncio
import re
from uuid import UUID

import click

from pitboss.accounts import service as accounts
from pitboss.cli.cell import get_scope, open_cell
from pitboss.kernel.ids import new_uuid
from pitboss.kernel.scope import Origin
from pitboss.ledger import service as ledger
from pitboss.ledger.contracts import Balance
from pitboss.permissions.service import deployment_actor, deployment_command
from pitboss.platform.db import ContextSigner, LaneConnections
from pitboss.platform.settings import Settings, load_settings, require
from pitboss.plughost.runtime import load_host, read_cell_file
from pitboss.policy.runtime import Policies
from pitboss.wallet import service as wallets
from pitboss.wallet.contracts import MovementOrder, WalletResult
from pitboss.wallet.runtime import DatabasePoster, Lane, Lanes
from pitboss_sdk.money import decimal_from_minor, get_currency, minor_from_decimal

_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


def _matching(pattern: re.Pattern[str], meaning: str):  # noqa: ANN202 - click's own shape of a callback
    def check(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
        if not pattern.fullmatch(value):
            raise click.BadParameter(f"{meaning} ({pattern.pattern})")
        return value

    return check


@click.group("player")
def player() -> None:
    """Operate on one player."""


@player.command("credit")
@click.option("--tenant", "slug", required=True, help="The tenant's slug.")
@click.option("--player", "player_id", required=True, type=click.UUID, help="The player's public id.")
@click.option("--amount", "amount_text", required=True, help="A decimal amount in the currency, such as 25.00.")
@click.option("--currency", default="", help="The wallet's currency; the account's own by default.")
@click.option(
    "--reference",
    required=True,
    callback=_matching(_REFERENCE, "letters, digits and . _ : -"),
    help="Idempotency key: the same again moves nothing.",
)
@click.option(
    "--reason", required=True, callback=_matching(_CODE, "a code, not a sentence"), help="A code, such as goodwill."
)
@deployment_command("wallet.credit.edit")
def credit_command(slug: str, player_id: UUID, amount_text: str, currency: str, reference: str, reason: str) -> None:
    """Deposit by hand, held against the player's limits, audited, through the wallet like all money."""
    order, result, balance = asyncio.run(
        _credit(load_settings(), slug, player_id, amount_text, currency=currency, reference=reference, reason=reason)
    )
    booked = result.legs[0]
    decimals = get_currency(order.currency).decimals
    real, bonus = (decimal_from_minor(minor, decimals) for minor in (balance.real_minor, balance.bonus_minor))
    done = "was booked before as" if booked.replayed else "is booked as"
    click.echo(
        f"{amount_text} {order.currency} {done} {booked.transaction}; there are {real} of real and {bonus} of bonus money"
    )


async def _credit(
    settings: Settings,
    slug: str,
    player_id: UUID,
    amount_text: str,
    *,
    currency: str,
    reference: str,
    reason: str,
) -> tuple[MovementOrder, WalletResult, Balance]:
    connection = LaneConnections(
        require(settings, "cell_database_url"),
        "pitboss player credit",
        ContextSigner(require(settings, "context_keys")),
    )
    policies = Policies(load_host(read_cell_file(settings.cell_file)).packs)
    lanes = Lanes([Lane(DatabasePoster(0, connection, laws=policies.laws))])
    async with open_cell(settings) as (database, directory):
        scope = get_scope(directory, slug)
        async with database.transaction(scope) as session:
            await policies.renew(session, scope)
            found = await accounts.get_player(session, scope, player_id)
            decimals = get_currency(currency or found.currency).decimals
            order = await wallets.order_credit(
                session,
                scope,
                player_id=player_id,
                currency=currency,
                amount_minor=_positive_minor(amount_text, decimals),
                reference=reference,
                reason=reason,
                actor=deployment_actor(),
                origin=Origin(request_id=str(new_uuid())),
            )
        lanes.start()
        try:
            result = await wallets.post_credit(lanes, scope, order)
        finally:
            await lanes.close()
        async with database.transaction(scope) as session:
            wallet = await ledger.get_wallet(session, scope, found.player_id, order.currency)
        return order, result, wallet.balance


def _positive_minor(amount_text: str, decimals: int) -> int:
    amount_minor = minor_from_decimal(amount_text, decimals)
    if not 0 < amount_minor <= wallets.MAX_CREDIT_MINOR:
        raise click.BadParameter("more than nothing, and less than a bank holds", param_hint="--amount")
    return amount_minor
