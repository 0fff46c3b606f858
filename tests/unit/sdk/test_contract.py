"""Rules of the contract that no type says."""

from __future__ import annotations

import msgspec

from pitboss_sdk import games
from pitboss_sdk.games import STICKY, Refusal
from pitboss_sdk.outcome import Done, Pending, Refused, Unknown, Unsent


def test_what_may_succeed_later_is_never_sticky() -> None:
    retried = {
        *(Refusal.UNKNOWN_REFERENCE, Refusal.SESSION_INVALID, Refusal.SIGNATURE_INVALID, Refusal.MALFORMED),
        *(Refusal.UNAVAILABLE, Refusal.INTERNAL, Refusal.TENANT_UNKNOWN, Refusal.OPERATION_UNKNOWN),
        *(Refusal.PLAYER_UNKNOWN, Refusal.CURRENCY_MISMATCH, Refusal.REFERENCE_MISUSED),
    }
    assert retried.isdisjoint(STICKY)
    assert retried | STICKY == set(Refusal)


def test_values_of_the_hot_path_cannot_change() -> None:
    values = [games.RawCall, games.Leg, games.WalletCall, games.LegAnswer, games.WalletAnswer, games.DialectResponse]
    for value in values:
        assert issubclass(value, msgspec.Struct)
        assert value.__struct_config__.frozen
        assert not value.__struct_config__.gc


def test_outcomes_tell_themselves_apart_on_the_wire() -> None:
    outcomes = [Done(1), Pending("v"), Refused("c"), Unsent(), Unknown()]
    tags = [msgspec.to_builtins(outcome)["type"] for outcome in outcomes]
    assert tags == ["done", "pending", "refused", "unsent", "unknown"]
