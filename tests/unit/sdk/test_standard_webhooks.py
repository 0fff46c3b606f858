"""Standard Webhooks against its published vector and its reference library, in both directions."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pitboss.kernel.clock import utc_now
from pitboss_sdk.plugin import InvalidConfiguration
from pitboss_sdk.standard_webhooks import decode_key, sign, verify
from pitboss_sdk.testing import Notice, NoticeSender
from pitboss_sdk.webhooks import Accepted, Forged, RawWebhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + b64encode(b"another key of thirty-two bytes.").decode()
BODY = b'{"test": 2432232314}'
ID, TIMESTAMP = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def raw(signature: str, event_id: str = ID, timestamp: str = str(TIMESTAMP), body: bytes = BODY) -> RawWebhook:
    headers = {"webhook-id": event_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
    return RawWebhook("POST", "", headers, body, 0)


def test_the_published_vector() -> None:
    key = decode_key("k", SECRET)
    assert sign(key, ID, TIMESTAMP, BODY) == SIGNATURE
    assert verify([key], raw(SIGNATURE)) == Accepted(ID, TIMESTAMP * 1_000_000)


def test_the_reference_library_signs_what_is_accepted_here() -> None:
    moment = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    signature = Webhook(SECRET).sign("msg_1", moment, BODY.decode())
    accepted = verify([decode_key("k", SECRET)], raw(signature, "msg_1", str(int(moment.timestamp()))))
    assert accepted == Accepted("msg_1", int(moment.timestamp()) * 1_000_000)


def test_the_reference_library_accepts_what_is_signed_here() -> None:
    now = int(utc_now().timestamp())
    notice = Notice("games.catalogue_changed", event_id="msg_2", sent_at_us=now * 1_000_000)
    sender = NoticeSender("aurora", SECRET)
    body = sender.write(notice)
    assert body is not None
    for headers in (
        sender.sign(notice, body),
        {**sender.sign(notice, body), "webhook-signature": sign(decode_key("k", SECRET), "msg_2", now, body)},
    ):
        assert Webhook(SECRET).verify(body, dict(headers))["type"] == "games.catalogue_changed"
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, dict(sender.sign(notice, body)))


def test_either_key_and_either_signature_will_do_while_a_key_is_replaced() -> None:
    ours, next_one = decode_key("a", SECRET), decode_key("b", OTHER)
    both = f"{sign(next_one, ID, TIMESTAMP, BODY)} {SIGNATURE}"
    assert isinstance(verify([ours, next_one], raw(SIGNATURE)), Accepted)
    assert isinstance(verify([ours], raw(both)), Accepted)
    assert isinstance(verify([next_one], raw(SIGNATURE)), Forged)
    assert isinstance(verify([], raw(SIGNATURE)), Forged)


@pytest.mark.parametrize(
    "forged",
    [
        raw(SIGNATURE.removeprefix("v1,")),
        raw("v2," + SIGNATURE.removeprefix("v1,")),
        raw("v1a," + SIGNATURE.removeprefix("v1,")),
        raw(" ".join(["v1,AAAA"] * 8 + [SIGNATURE])),
        raw(SIGNATURE, timestamp=f"0{TIMESTAMP}"),
        raw(SIGNATURE, timestamp=f"{TIMESTAMP}.0"),
        raw(SIGNATURE, event_id=""),
        # What is signed is id, time and body with full stops between: an id with one could borrow from the others.
        raw(sign(decode_key("k", SECRET), "msg", 1, b"2.{}"), event_id="msg.1", timestamp="2", body=b"{}"),
    ],
)
def test_what_is_not_to_the_letter_is_forged(forged: RawWebhook) -> None:
    assert isinstance(verify([decode_key("k", SECRET)], forged), Forged)


@pytest.mark.parametrize(
    "text",
    [
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_AAAA",
        "whsec_" + b64encode(b"x" * 65).decode(),
        "whsec_é",
        "whpk_" + b64encode(b"x" * 32).decode(),
    ],
)
def test_a_secret_of_another_form_is_refused_without_telling_it(text: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        decode_key("name", text)
    assert "name" in refused.value.detail
    assert text.removeprefix("whsec_")[:8] not in refused.value.detail or text == "whsec_"


def test_a_key_has_the_bytes_of_its_base64() -> None:
    assert decode_key("k", f" {SECRET}\n") == b64decode(SECRET.removeprefix("whsec_"))
