"""Differences between files and register, and what a cell is told."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from pitboss.directory.contracts import ForeignTenant, SigningKey, TenantState
from pitboss.tenancy.contracts import BrandFile, CellPlace, PlanEntry, TenantFile, TenantRecord
from pitboss.tenancy.rules import (
    build_content,
    diff_facts,
    facts_of,
    file_from_record,
    find_refusals,
    find_state_refusal,
    merge_record,
    record_from_files,
    renew_snapshot,
)

CELLS = {"eu-1": CellPlace("eu-1", "eu", "https://eu-1.example"), "br-1": CellPlace("br-1", "br")}
KEY = SigningKey("k1", b"\1" * 32)
BRAND = BrandFile(
    slug="aurora", name="Aurora", domains=("b.example", "a.example"), languages=("pt-BR", "en"), default_language="en"
)
TENANT = TenantFile(
    slug="aurora",
    name="Aurora",
    public_id=UUID("01a1fbe4-4666-757a-bf99-969a96f72ab2"),
    locality="eu",
    cell="eu-1",
    environment="demo",
    currencies=("JPY", "EUR"),
    brands=(BRAND,),
    plugins=("softswiss",),
)


def held(**changes: Any) -> TenantRecord:
    return msgspec.structs.replace(record_from_files(TENANT), tenant_id=3, **changes)


def diff(actual: TenantRecord | None, tenant: TenantFile = TENANT) -> list[PlanEntry]:
    return diff_facts(facts_of(actual), facts_of(merge_record(tenant, actual)))


def test_the_same_state_has_no_difference() -> None:
    assert diff(held()) == []


def test_order_in_a_file_means_nothing() -> None:
    turned = msgspec.structs.replace(TENANT, currencies=("EUR", "JPY"))
    assert diff(held(), turned) == []


def test_a_new_tenant_is_all_additions() -> None:
    entries = diff(None)
    assert {entry.action for entry in entries} == {"+"}
    assert PlanEntry("+", "domains.a.example", None, "aurora") in entries


def test_each_difference_has_its_sign() -> None:
    brand = msgspec.structs.replace(BRAND, name="Nova", domains=("a.example", "c.example"))
    entries = diff(held(), msgspec.structs.replace(TENANT, brands=(brand,), currencies=("EUR",)))
    assert entries == [
        PlanEntry("~", "brands.aurora.name", "Aurora", "Nova"),
        PlanEntry("-", "currencies.JPY", True, None),
        PlanEntry("-", "domains.b.example", "aurora", None),
        PlanEntry("+", "domains.c.example", None, "aurora"),
    ]


LICENSED = msgspec.structs.replace(TENANT, packs=("mt_mga",))
BOTH = msgspec.structs.replace(
    TENANT, packs=("mt_mga", "br_spa"), brands=(msgspec.structs.replace(BRAND, pack="mt_mga"),)
)


def test_a_brand_that_names_no_pack_has_the_only_one() -> None:
    assert PlanEntry("+", "brands.aurora.pack", None, "mt_mga") in diff(None, LICENSED)
    assert [entry.path for entry in diff(None) if entry.path.endswith(".pack")] == []
    # Another pack for another brand leaves this one where it is, once the file says so.
    assert diff(record_from_files(LICENSED), BOTH) == [PlanEntry("+", "packs.br_spa", None, True)]


@pytest.mark.parametrize("tenant", [TENANT, LICENSED, BOTH])
def test_a_record_is_written_back_as_a_file_that_says_the_same(tenant: TenantFile) -> None:
    written = file_from_record(record_from_files(tenant))
    assert [brand.pack for brand in written.brands] == [brand.pack for brand in tenant.brands]
    assert record_from_files(written) == record_from_files(tenant)


def test_a_cell_is_told_the_licence_of_each_brand() -> None:
    for tenant, licence in ((TENANT, ""), (LICENSED, "mt_mga"), (BOTH, "mt_mga")):
        record = msgspec.structs.replace(record_from_files(tenant), tenant_id=3)
        (told,) = build_content("eu-1", [record], CELLS).tenants
        assert told.licence_of(told.brands[0]) == licence
        # A snapshot from before brands had packs: one pack is meant, of several none.
        old = msgspec.structs.replace(told.brands[0], pack="")
        assert told.licence_of(old) == ("" if tenant is BOTH else licence)


@pytest.mark.parametrize(
    ("before", "after"), [("pending", "active"), ("active", "active"), ("suspended", "suspended"), ("closed", "closed")]
)
def test_files_activate_but_never_reopen(before: str, after: str) -> None:
    assert merge_record(TENANT, held(state=TenantState(before))).state == after


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("public_id", UUID("01a1fbe4-4666-757a-bf99-000000000000")),
        ("locality", "br"),
        ("cell", "br-1"),
        ("environment", "production"),
    ],
)
def test_identity_and_place_never_change(field: str, value: Any) -> None:
    refusals = find_refusals(msgspec.structs.replace(TENANT, **{field: value}), held())
    assert len(refusals) == 1
    assert refusals[0].startswith(f"{field} never changes: ")


def test_a_closed_tenant_takes_no_files() -> None:
    assert find_refusals(TENANT, held(state=TenantState.CLOSED)) == ["the tenant is closed"]


def test_what_may_change_is_not_refused() -> None:
    assert find_refusals(msgspec.structs.replace(TENANT, name="New", currencies=("BRL",)), held()) == []


def test_a_cell_is_told_all_of_its_own_and_the_place_of_others() -> None:
    own = build_content("eu-1", [held()], CELLS)
    assert [(tenant.tenant_id, tenant.slug) for tenant in own.tenants] == [(3, "aurora")]
    assert own.elsewhere == ()
    other = build_content("br-1", [held()], CELLS)
    assert other.tenants == ()
    assert other.elsewhere == (ForeignTenant("aurora", ("a.example", "b.example"), "eu-1", "https://eu-1.example"),)


def test_a_pending_tenant_is_told_to_nobody() -> None:
    pending = held(state=TenantState.PENDING)
    for cell in CELLS:
        content = build_content(cell, [pending], CELLS)
        assert content.tenants == content.elsewhere == ()


def test_a_snapshot_is_renewed_only_for_a_reason() -> None:
    content = build_content("eu-1", [held()], CELLS)
    first = renew_snapshot("eu-1", None, content, KEY)
    assert first is not None
    assert first.version == 1
    assert renew_snapshot("eu-1", first, content, KEY) is None
    changed = renew_snapshot("eu-1", first, build_content("eu-1", [held(name="New")], CELLS), KEY)
    assert changed is not None
    assert changed.version == 2
    rekeyed = renew_snapshot("eu-1", first, content, SigningKey("k2", b"\2" * 32))
    assert rekeyed is not None
    assert (rekeyed.version, rekeyed.key_id) == (2, "k2")


ALLOWED = {("active", "suspended"), ("suspended", "active"), ("suspended", "closed")}


@pytest.mark.parametrize("before", list(TenantState))
@pytest.mark.parametrize("after", [TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.CLOSED])
def test_a_state_follows_from_one_other(before: TenantState, after: TenantState) -> None:
    fine = before is after or (before.value, after.value) in ALLOWED
    assert (find_state_refusal(before, after) == "") is fine
