"""Notices that tenant A's vendor signs and in which something of tenant B's is named, and notices at B's address."""

from __future__ import annotations

from typing import Any

import httpx
from tests.isolation.http_probes import HttpProber, view
from tests.isolation.world import PLUGIN

EVENTS = ("games.game_suspended", "games.game_resumed", "games.catalogue_changed")
NOBODY = "nobody"


async def probe_webhooks(prober: HttpProber) -> None:
    """Post what names B beside its twin that names nobody; both must be answered alike."""
    world = prober.world
    a, b = world.a, world.b
    async with world.web.client(a.host) as client:
        for number, event in enumerate(EVENTS):
            for name, theirs, nobodys in (
                ("game", {"game": b.ids["code"]}, {"game": "game-of-nobody"}),
                ("event id", {"event_id": b.ids["event_id"]}, {"event_id": "event-of-nobody"}),
                ("operator", {"operator": b.scope.slug}, {"operator": NOBODY}),
            ):
                answers: list[httpx.Response] = []
                for which, changes in enumerate((theirs, nobodys)):
                    fresh = f"notice-{name.replace(' ', '-')}-{number}-{which}"
                    values: dict[str, Any] = {"event_id": fresh, "game": a.ids["code"], "event": event, **changes}
                    notice = a.write_notice(values.pop("event_id"), values.pop("game"), **values)
                    answers.append(await client.post(f"/webhooks/{a.scope.slug}/{PLUGIN}", **notice))
                mine, other = (view(answer) for answer in answers)
                wrong = "" if mine == other else f"{mine} where nothing is there: {other}"
                prober.judge(f"webhook {event} with the {name} of B", answers[0], wrong=wrong)
            await _probe_address(prober, client, event)


async def _probe_address(prober: HttpProber, client: httpx.AsyncClient, event: str) -> None:
    """Post to B under A's signature, in the words of both and in all ways to write the address."""
    a, b = prober.world.a, prober.world.b
    slug = b.scope.slug
    places = (
        f"/webhooks/{slug}/{PLUGIN}",
        f"/webhooks/{slug}/{PLUGIN}/",
        f"/webhooks/{slug}/{PLUGIN}/{a.scope.slug}",
        f"/webhooks/{slug}/{PLUGIN}?tenant={a.scope.slug}",
        f"/webhooks/{a.scope.slug}/../{slug}/{PLUGIN}",
        f"/webhooks/{a.scope.slug}%2f..%2f{slug}/{PLUGIN}",
        f"/webhooks/{slug}%00/{PLUGIN}",
        f"/webhooks/{slug.upper()}/{PLUGIN}",
    )
    for place in places:
        for operator in (a.scope.slug, b.scope.slug):
            for event_id in ("stolen", b.ids["event_id"]):
                notice = b.write_notice(event_id, b.ids["code"], signer=a, event=event, operator=operator)
                answer = await client.post(place, **notice)
                wrong = "" if 400 <= answer.status_code < 500 else f"answered {answer.status_code}"
                prober.judge(f"webhook {place} {event} signed by A", answer, wrong=wrong)
