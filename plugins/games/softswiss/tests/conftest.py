"""One configured dialect and a way to sign calls for it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pitboss_plugins.games.softswiss.config import SoftswissConfig
from pitboss_plugins.games.softswiss.driver import SoftswissDialect
from pitboss_sdk.games import RawCall
from pitboss_sdk.secrets import SecretRef

SECRET = "current-secret-of-the-tests"
PREVIOUS = "previous-secret-of-the-tests"

Sign = Callable[..., RawCall]


@pytest.fixture(scope="session")
def secret() -> str:
    return SECRET


@pytest.fixture(scope="session")
def previous_secret() -> str:
    return PREVIOUS


@pytest.fixture(scope="session")
def dialect() -> SoftswissDialect:
    config = SoftswissConfig(
        casino_id="aurora",
        gateway_url="https://gateway.example/",
        api_secret=SecretRef("current"),
        previous_api_secret=SecretRef("previous"),
        deposit_url="https://aurora.example/deposit",
    )
    return SoftswissDialect(config, {"current": SECRET, "previous": PREVIOUS})


@pytest.fixture(scope="session")
def sign() -> Sign:
    def signed(operation: str, body: bytes | Mapping[str, Any], secret: str = SECRET) -> RawCall:
        raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        claimed = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        return RawCall(operation, {"x-request-sign": claimed, "content-type": "application/json"}, raw)

    return signed
