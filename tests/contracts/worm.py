"""The contract of write-once storage: each check attacks a store with every right there is, and looks what is left."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

from tests.contracts.worm_bench import CHECKS, COMPLIANCE, GOVERNANCE, Bench, check, parts_of

from pitboss.platform.worm.port import Mode, ObjectMissing, Retention

# What is put is there.


@check
async def gives_back_what_was_put(bench: Bench) -> None:
    content = bytes(range(256)) * 9
    stored = await bench.put(content=content)
    assert stored.size_bytes == len(content)
    await bench.stands(stored, content)
    assert await bench.store.get(stored.key) == content


@check
async def keeps_an_empty_object(bench: Bench) -> None:
    stored = await bench.put(content=b"")
    await bench.stands(stored, b"")


@check
async def tells_retention_and_hold(bench: Bench) -> None:
    for mode, hold in itertools.product(Mode, (True, False)):
        until = bench.until(days=3)
        stored = await bench.store.put(bench.key(), b"x", Retention(mode, until), hold=hold)
        assert (stored.retention, stored.hold) == (Retention(mode, until), hold)


@check
async def lists_every_version(bench: Bench) -> None:
    key = bench.key()
    stored = [await bench.put(key=key, content=content) for content in (b"one", b"two", b"three")]
    listed = await bench.store.list_versions(key)
    assert {each.version for each in listed} == {each.version for each in stored}
    assert sorted(each.size_bytes for each in listed) == [3, 3, 5]


@check
async def has_nothing_that_was_not_put(bench: Bench) -> None:
    for ask in (bench.store.get, bench.store.head):
        try:
            await ask(bench.key())
        except ObjectMissing:
            continue
        raise AssertionError("it has what nobody put")


@check
async def refuses_retention_that_is_over(bench: Bench) -> None:
    key = bench.key()
    for moment in (bench.now() - timedelta(days=1), bench.now() - timedelta(seconds=1), datetime(2100, 1, 1)):  # noqa: DTZ001
        try:
            await bench.store.put(key, b"x", Retention(COMPLIANCE, moment))
        except ValueError:
            continue
        raise AssertionError(f"it took {moment}")
    assert await bench.store.list_versions(key) == []


# Deleting.


@check
async def delete_under_compliance(bench: Bench) -> None:
    stored = await bench.put()
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version))


@check
async def delete_under_compliance_with_bypass(bench: Bench) -> None:
    stored = await bench.put()
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def delete_under_governance(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version))


@check
async def bypass_opens_governance(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    await bench.store.delete_version(stored.key, stored.version, bypass=True)
    await bench.is_gone(stored)


@check
async def batch_delete_under_compliance(bench: Bench) -> None:
    stored = [await bench.put() for _ in range(3)]
    await bench.refused(bench.store.delete_versions([(each.key, each.version) for each in stored]))
    for each in stored:
        await bench.stands(each)


@check
async def batch_delete_under_compliance_with_bypass(bench: Bench) -> None:
    stored = [await bench.put() for _ in range(3)]
    await bench.refused(bench.store.delete_versions([(each.key, each.version) for each in stored], bypass=True))
    for each in stored:
        await bench.stands(each)


@check
async def batch_delete_under_governance(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    await bench.survives(stored, bench.store.delete_versions([(stored.key, stored.version)]))


@check
async def mixed_batch_takes_what_is_free_alone(bench: Bench) -> None:
    kept, free = await bench.put(), await bench.put(GOVERNANCE)
    batch = [(free.key, free.version), (kept.key, kept.version)]
    await bench.survives(kept, bench.store.delete_versions(batch, bypass=True))
    await bench.is_gone(free)


@check
async def hiding_a_key_leaves_its_versions(bench: Bench) -> None:
    stored = await bench.put()
    await bench.store.hide(stored.key)
    await bench.stands(stored)
    assert stored.version in {each.version for each in await bench.store.list_versions(stored.key)}


@check
async def putting_after_hiding_leaves_the_old_version(bench: Bench) -> None:
    stored = await bench.put()
    await bench.store.hide(stored.key)
    await bench.put(key=stored.key, content=b"second")
    await bench.stands(stored)
    assert await bench.store.get(stored.key) == b"second"


# Shortening.


@check
async def shorten_compliance_by_a_day(bench: Bench) -> None:
    stored = await bench.put()
    retention = Retention(COMPLIANCE, bench.until(days=29))
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, retention))


@check
async def shorten_compliance_with_bypass(bench: Bench) -> None:
    stored = await bench.put()
    retention = Retention(COMPLIANCE, bench.until(days=29))
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, retention, bypass=True))


@check
async def shorten_compliance_into_the_past(bench: Bench) -> None:
    stored = await bench.put()
    retention = Retention(COMPLIANCE, bench.until(days=-1))
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, retention, bypass=True))
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def shorten_governance_without_bypass(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    retention = Retention(GOVERNANCE, bench.until(days=29))
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, retention))


@check
async def bypass_shortens_governance(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    retention = Retention(GOVERNANCE, bench.until(days=29))
    await bench.store.set_retention(stored.key, stored.version, retention, bypass=True)
    assert (await bench.store.head(stored.key, stored.version)).retention == retention


@check
async def extending_never_shortens(bench: Bench) -> None:
    for mode in Mode:
        stored = await bench.put(mode)
        await bench.survives(stored, bench.store.extend_retention(stored.key, stored.version, bench.until(days=1)))


@check
async def take_retention_away_under_compliance(bench: Bench) -> None:
    stored = await bench.put()
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, None))


@check
async def take_retention_away_under_compliance_with_bypass(bench: Bench) -> None:
    stored = await bench.put()
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, None, bypass=True))


@check
async def take_retention_away_under_governance(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, None))


# Changing the mode.


@check
async def weaken_compliance_to_governance(bench: Bench) -> None:
    stored = await bench.put()
    retention = Retention(GOVERNANCE, bench.until(days=30))
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, retention))


@check
async def weaken_compliance_to_a_longer_governance(bench: Bench) -> None:
    stored = await bench.put()
    retention = Retention(GOVERNANCE, bench.until(days=300))
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, retention))


@check
async def weaken_compliance_with_bypass(bench: Bench) -> None:
    stored = await bench.put()
    retention = Retention(GOVERNANCE, bench.until(days=300))
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, retention, bypass=True))
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def governance_becomes_compliance_for_good(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    retention = Retention(COMPLIANCE, bench.until(days=30))
    await bench.store.set_retention(stored.key, stored.version, retention, bypass=True)
    strict = await bench.store.head(stored.key, stored.version)
    assert strict.retention == retention
    await bench.survives(strict, bench.store.delete_version(stored.key, stored.version, bypass=True))


# Extending.


@check
async def extends_and_holds_to_it(bench: Bench) -> None:
    stored = await bench.put()
    longer = await bench.store.extend_retention(stored.key, stored.version, bench.until(days=60))
    assert longer.retention == Retention(COMPLIANCE, bench.until(days=60))
    back = bench.store.set_retention(stored.key, stored.version, stored.retention, bypass=True)
    await bench.survives(longer, back)


@check
async def extends_governance_in_its_mode(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    longer = await bench.store.extend_retention(stored.key, stored.version, bench.until(days=60))
    assert longer.retention == Retention(GOVERNANCE, bench.until(days=60))
    await bench.survives(longer, bench.store.delete_version(stored.key, stored.version))


@check
async def extending_to_the_same_moment_changes_nothing(bench: Bench) -> None:
    stored = await bench.put()
    assert stored.retention is not None
    assert await bench.store.extend_retention(stored.key, stored.version, stored.retention.until) == stored


@check
async def extending_one_version_leaves_the_others(bench: Bench) -> None:
    first = await bench.put()
    second = await bench.put(key=first.key, content=b"second")
    await bench.store.extend_retention(second.key, second.version, bench.until(days=60))
    await bench.stands(first)


# Holds.


@check
async def hold_stops_deleting_under_governance(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE, hold=True)
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def hold_that_is_put_later_stops_deleting(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE)
    held = await bench.store.set_hold(stored.key, stored.version, on=True)
    assert held.hold
    await bench.survives(held, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def hold_stops_a_batch(bench: Bench) -> None:
    stored = await bench.put(GOVERNANCE, hold=True)
    await bench.survives(stored, bench.store.delete_versions([(stored.key, stored.version)], bypass=True))


@check
async def hold_outlasts_retention(bench: Bench) -> None:
    stored = await bench.put(seconds=2, hold=True)
    assert stored.retention is not None
    await bench.let_pass(stored.retention.until)
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def lifting_a_hold_leaves_retention(bench: Bench) -> None:
    stored = await bench.put(hold=True)
    lifted = await bench.store.set_hold(stored.key, stored.version, on=False)
    assert not lifted.hold
    await bench.survives(lifted, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def hold_on_one_version_is_not_on_another(bench: Bench) -> None:
    first = await bench.put(GOVERNANCE)
    second = await bench.put(GOVERNANCE, b"second", first.key, hold=True)
    await bench.store.delete_version(first.key, first.version, bypass=True)
    await bench.is_gone(first)
    await bench.refused(bench.store.delete_version(second.key, second.version, bypass=True))
    await bench.stands(second, b"second")


# Overwriting.


@check
async def overwrite_leaves_the_old_version(bench: Bench) -> None:
    stored = await bench.put()
    second = await bench.put(key=stored.key, content=b"second")
    assert second.version != stored.version
    await bench.stands(stored)
    await bench.stands(second, b"second")


@check
async def overwrite_with_shorter_retention_shortens_nothing(bench: Bench) -> None:
    stored = await bench.put()
    await bench.put(GOVERNANCE, b"second", stored.key, seconds=30)
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def overwrite_many_times_keeps_all(bench: Bench) -> None:
    key = bench.key()
    stored = [(await bench.put(key=key, content=bytes([n])), bytes([n])) for n in range(5)]
    for version, content in stored:
        await bench.stands(version, content)


# Multipart.


@check
async def multipart_is_kept_as_whole(bench: Bench) -> None:
    parts = [secrets.token_bytes(64), b"", secrets.token_bytes(1000)]
    stored = await bench.store.put_parts(bench.key(), parts_of(*parts), Retention(COMPLIANCE, bench.until()))
    assert stored.size_bytes == 1064
    await bench.stands(stored, b"".join(parts))


@check
async def multipart_is_under_retention(bench: Bench) -> None:
    stored = await bench.store.put_parts(bench.key(), parts_of(b"fi", b"rst"), Retention(COMPLIANCE, bench.until()))
    assert stored.retention == Retention(COMPLIANCE, bench.until())
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def multipart_overwrites_nothing(bench: Bench) -> None:
    stored = await bench.put()
    await bench.store.put_parts(stored.key, parts_of(b"second"), Retention(GOVERNANCE, bench.until(seconds=30)))
    await bench.stands(stored)


@check
async def multipart_that_breaks_off_leaves_nothing(bench: Bench) -> None:
    key = bench.key()

    async def broken() -> AsyncIterator[bytes]:
        yield b"first"
        raise ConnectionAbortedError

    try:
        await bench.store.put_parts(key, broken(), Retention(COMPLIANCE, bench.until()))
    except ConnectionAbortedError:
        assert await bench.store.list_versions(key) == []
        return
    raise AssertionError("it took half of it")


# The store as a whole.


@check
async def versions_cannot_be_switched_off(bench: Bench) -> None:
    stored = await bench.put()
    await bench.refused(bench.store.suspend_versioning())
    second = await bench.put(key=stored.key, content=b"second")
    third = await bench.put(key=stored.key, content=b"third")
    assert len({stored.version, second.version, third.version}) == 3
    await bench.stands(stored)
    await bench.stands(second, b"second")


@check
async def clock_set_forward_deletes_nothing(bench: Bench) -> None:
    stored = await bench.put()
    await bench.set_forward()
    await bench.survives(stored, bench.store.delete_version(stored.key, stored.version, bypass=True))


@check
async def clock_set_forward_shortens_nothing(bench: Bench) -> None:
    stored = await bench.put()
    await bench.set_forward()
    retention = Retention(COMPLIANCE, bench.until(days=1))
    await bench.survives(stored, bench.store.set_retention(stored.key, stored.version, retention, bypass=True))


@check
async def what_is_over_can_be_destroyed(bench: Bench) -> None:
    for mode in Mode:
        each = await bench.put(mode, seconds=2)
        assert each.retention is not None
        await bench.survives(each, bench.store.delete_version(each.key, each.version))
        await bench.let_pass(each.retention.until)
        await bench.store.delete_version(each.key, each.version)
        await bench.is_gone(each)


@check
async def every_attack_at_once(bench: Bench) -> None:
    stored = await bench.put()
    store, key, version = bench.store, stored.key, stored.version
    for attack in (
        lambda: store.set_retention(key, version, None, bypass=True),
        lambda: store.set_retention(key, version, Retention(GOVERNANCE, bench.until(seconds=1)), bypass=True),
        lambda: store.set_hold(key, version, on=False),
        lambda: store.hide(key),
        store.suspend_versioning,
        lambda: bench.put(GOVERNANCE, b"second", key, seconds=30),
        lambda: store.delete_versions([(key, version)] * 2, bypass=True),
        lambda: store.delete_version(key, version, bypass=True),
    ):
        await bench.refused(attack())
    await bench.stands(stored)


async def run_contract(make_bench: Callable[[], Awaitable[Bench]]) -> dict[str, str]:
    """Run every check on a store of its own; return the failed ones with what they said."""
    failed: dict[str, str] = {}
    for name, function in CHECKS.items():
        try:
            await function(await make_bench())
        except Exception as error:  # noqa: BLE001 - whatever a store does wrong counts against it
            failed[name] = f"{type(error).__name__}: {error}"
    return failed
