"""What a dialect learns of the time: the moment at which the route took the call up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pitboss.kernel.clock import epoch_microseconds
from pitboss.platform.telemetry import Metrics
from pitboss.web.wallet_route import RawHeaders, WalletRoute
from pitboss_sdk.games import DialectRefusal, DialectResponse, RawCall, Refusal


class Listening:
    operations = frozenset({"balance"})
    max_body_bytes = 100

    def __init__(self) -> None:
        self.heard: list[RawCall] = []

    def verify(self, call: RawCall) -> None:
        self.heard.append(call)
        raise DialectRefusal(Refusal.SIGNATURE_INVALID)

    def render_refusal(self, refusal: Refusal, detail: str = "") -> DialectResponse:
        return DialectResponse(401, refusal.value.encode())


def test_a_dialect_is_told_when_the_call_came() -> None:
    dialect = Listening()
    endpoint = SimpleNamespace(dialect=dialect, scope=SimpleNamespace(slug="aurora"), plugin="timed")
    nothing: Any = None
    endpoints: Any = SimpleNamespace(find=lambda _tenant, _plugin: endpoint)
    route = WalletRoute(endpoints, nothing, nothing, nothing, Metrics())
    answers: list[DialectResponse] = []
    before = epoch_microseconds()
    route.begin("POST", "/wallet/aurora/timed/balance", RawHeaders([]), b"{}", answers.append)
    assert [answer.status for answer in answers] == [401]
    assert before <= dialect.heard[0].received_at_us <= epoch_microseconds()
