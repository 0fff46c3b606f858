"""Configured dialects of both flavours, and a way to sign calls for them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pitboss_plugins.games.hub88.config import Hub88Config
from pitboss_plugins.games.hub88.driver import Hub88Dialect
from pitboss_sdk.games import RawCall
from pitboss_sdk.secrets import SecretRef

HEADERS = {"hub88": "x-hub88-signature", "caleta": "x-auth-signature"}

Sign = Callable[..., RawCall]


class Keys:
    """Every key of the tests, made once."""

    def __init__(self) -> None:
        self.aggregator = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.previous = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.other_tenant = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.operator = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 it must be refused
        self.elliptic = ec.generate_private_key(ec.SECP256R1())

    def secrets(self) -> dict[str, str]:
        return {
            "private": private_pem(self.operator),
            "theirs": public_pem(self.aggregator),
            "before": b64encode(public_der(self.previous)).decode(),
        }


def private_pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def private_der(key: Any) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def public_der(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def configure(flavour: Any = "hub88", **changes: Any) -> Hub88Config:
    given: dict[str, Any] = {
        "flavour": flavour,
        "operator_id": "7" if flavour == "hub88" else "aurora-casino",
        "sub_partner_id": "" if flavour == "hub88" else "aurora",
        "gateway_url": "https://gateway.example/",
        "lobby_url": "https://aurora.example/lobby",
        "deposit_url": "https://aurora.example/deposit",
        "private_key": SecretRef("private"),
        "aggregator_public_key": SecretRef("theirs"),
        "previous_aggregator_public_key": SecretRef("before"),
        **changes,
    }
    return Hub88Config(**given)


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="session")
def dialect(keys: Keys) -> Hub88Dialect:
    return Hub88Dialect(configure(), keys.secrets())


@pytest.fixture(scope="session")
def caleta(keys: Keys) -> Hub88Dialect:
    return Hub88Dialect(configure("caleta"), keys.secrets())


@pytest.fixture(scope="session")
def sign(keys: Keys) -> Sign:
    def signed(operation: str, body: bytes | Mapping[str, Any], key: Any = None, *, flavour: str = "hub88") -> RawCall:
        raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        signature = (key or keys.aggregator).sign(raw, padding.PKCS1v15(), SHA256())
        return RawCall(operation, {HEADERS[flavour]: b64encode(signature).decode()}, raw)

    return signed


@pytest.fixture(scope="session")
def unsigned() -> Sign:
    """Calls for `parse` alone: signing takes longer than everything else here."""

    def made(operation: str, body: bytes | Mapping[str, Any]) -> RawCall:
        raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        return RawCall(operation, {}, raw)

    return made
