"""Webhooks of vendors: `POST /webhooks/<tenant>/<plugin>`, stored whole before the vendor is told that they arrived."""

from collections import Counter
from typing import Any, Final

import structlog
from litestar import Request, post
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Response

from pitboss.directory.contracts import TenantState
from pitboss.directory.errors import TenantMoving
from pitboss.directory.runtime import Directory
from pitboss.kernel.clock import epoch_microseconds
from pitboss.kernel.scope import TenantScope
from pitboss.platform.db import Database
from pitboss.platform.telemetry import Metrics
from pitboss.plughost import service as plughost
from pitboss.plughost.errors import ReceiverUnavailable, WebhookForged, WebhookNotForUs, WebhookStale
from pitboss.plughost.runtime import GuardedReceiver, Receivers
from pitboss.web.errors import DirectoryNotRead, Misdirected, UnknownHost
from pitboss_sdk.errors import PitbossError
from pitboss_sdk.webhooks import RawWebhook

PATHS: Final = ("/webhooks/{slug:str}/{plugin:str}", "/webhooks/{slug:str}/{plugin:str}/{rest:path}")
MAX_BODY_BYTES: Final = 256 * 1024
MAX_HEADERS: Final = 100
MAX_HEAD_BYTES: Final = 16 * 1024

_OUTCOMES: Final[dict[type[PitbossError], str]] = {
    WebhookForged: "forged",
    WebhookStale: "stale",
    WebhookNotForUs: "not_for_us",
    ReceiverUnavailable: "failed",
}
_LOG = structlog.get_logger(__name__)


class WebhookDesk:
    """What the handler of webhooks needs: whom the cell serves, their receivers, and where the calls are kept."""

    def __init__(self, database: Database, directory: Directory, receivers: Receivers, metrics: Metrics) -> None:
        self._database = database
        self._directory = directory
        self._receivers = receivers
        self._metrics = metrics

    def find_scope(self, slug: str) -> TenantScope:
        """Return the scope of the tenant that an address names.

        Raises `Misdirected`, with the right cell's address and nothing else, for a tenant of another cell.
        """
        elsewhere = self._directory.find_elsewhere_by_slug(slug)
        if elsewhere is not None:
            _LOG.warning("webhook.foreign_tenant", tenant=elsewhere.slug)
            raise Misdirected(f"this tenant is served at {elsewhere.address}")
        found = self._directory.find_tenant_by_slug(slug)
        if found is None and not self._directory.is_loaded:
            raise DirectoryNotRead("try again")
        if found is not None and found.state is TenantState.MOVING:
            raise TenantMoving("try again")
        if found is None or found.state not in {TenantState.ACTIVE, TenantState.SUSPENDED}:
            raise UnknownHost
        return self._directory.scope_of(found)

    async def take(self, scope: TenantScope, plugin: str, raw: RawWebhook) -> None:
        """Store a webhook and what it leaves to be done; a repetition changes nothing. Raise why it is not taken."""
        receiver = await self._find_receiver(scope, plugin)
        try:
            webhook = receiver.verify(raw)
            async with self._database.transaction(scope) as session:
                is_new = await plughost.store_webhook(session, scope, webhook)
        except PitbossError as error:
            # The plugin's name is of our own registry by now. Of what was not believed, nothing but this is kept.
            outcome = next((name for kind, name in _OUTCOMES.items() if isinstance(error, kind)), "failed")
            self._metrics.webhooks.labels(scope.slug, plugin, outcome).inc()
            if outcome != "failed":
                _LOG.warning("webhook.refused", tenant=scope.slug, plugin=plugin, outcome=outcome)
            raise
        except Exception:
            self._metrics.webhooks.labels(scope.slug, plugin, "failed").inc()
            raise
        self._metrics.webhooks.labels(scope.slug, plugin, "stored" if is_new else "repeated").inc()

    async def _find_receiver(self, scope: TenantScope, plugin: str) -> GuardedReceiver:
        receiver = self._receivers.find_fresh(scope, plugin)
        if receiver is None:
            async with self._database.transaction(scope) as session:
                receiver = await self._receivers.get(session, scope, plugin)
        return receiver


@post(
    list(PATHS),
    status_code=202,
    opt={"public": "keeps only what the tenant's plugin has verified"},
    include_in_schema=False,
    request_max_body_size=MAX_BODY_BYTES,
)
async def take_webhook(request: Request[Any, Any, Any], slug: FromPath[str], plugin: FromPath[str]) -> Response[bytes]:
    """Take one webhook; 202 once it is stored."""
    desk: WebhookDesk = request.app.state.webhook_desk
    scope = desk.find_scope(slug)
    request.scope["state"]["tenant"] = scope
    received_at_us = epoch_microseconds()
    headers = list(request.headers.multi_items())
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
        raise HTTPException(status_code=431)
    rest = request.path_params.get("rest", "")
    # Two of one name could be read as either: to a receiver it is as if there were none.
    count = Counter(name.lower() for name, _ in headers)
    kept = {name.lower(): value for name, value in headers if count[name.lower()] == 1}
    raw = RawWebhook(request.method, str(rest).strip("/"), kept, await request.body(), received_at_us)
    await desk.take(scope, plugin, raw)
    return Response(b"", status_code=202, media_type=MediaType.TEXT)
