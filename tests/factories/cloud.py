"""A stand-in for AWS on this machine: moto's server, which speaks the protocols of KMS and S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer
from tests.factories.ports import free_port

REGION = "eu-central-1"


@contextmanager
def serve_cloud() -> Iterator[str]:
    """Serve and return the address; credentials that the stand-in believes are in the environment meanwhile."""
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop()
