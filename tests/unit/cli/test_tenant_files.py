"""What a promoted tenant's files say: secrets of its own, and a note of all that still speaks of the other one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from pitboss.cli.tenant_apply import Held
from pitboss.cli.tenant_files import list_notes, promote
from pitboss.directory.contracts import TenantState
from pitboss.tenancy.contracts import BrandFile, CellPlace, TenantFile, TenantFolder, TenantRecord

PLACE = CellPlace("eu-2", "eu")
BRAND = BrandFile(slug="sol", name="Sol", domains=("sol.example",), languages=("en",), default_language="en")
OF_BOTH = "plugins/games.toml: {} is the secret {!r} of the exported tenant too; in one store both have one value"


def hold(table: dict[str, Any]) -> Held:
    """Return a tenant `sol` that is held with this plugin table."""
    file = TenantFile(
        slug="sol",
        name="Sol",
        public_id=UUID(int=1),
        locality="eu",
        cell="eu-1",
        environment="demo",
        currencies=("EUR",),
        brands=(BRAND,),
        plugins=("games",),
    )
    record = TenantRecord(
        1, "sol", UUID(int=1), "Sol", TenantState.ACTIVE, "eu", "eu-1", "demo", ("EUR",), (), ("games",), ()
    )
    return Held(record, TenantFolder(file, {"games": table}), ())


def promoted(table: dict[str, Any], slug: str) -> tuple[Any, list[str]]:
    """Return the plugin table of the promoted tenant, and the notes."""
    held = hold(table)
    folder = promote(held.folder, slug, PLACE, None, ("new.example",))
    return folder.plugins["games"], list(list_notes(held, folder))


def test_a_secret_that_bears_the_slug_gets_the_new_one() -> None:
    table = {"key": {"secret": "sol-games-key"}, "deep": {"keys": [{"secret": "sol-a"}, {"secret": "sol-b"}]}}
    assert promoted(table, "luna") == (
        {"key": {"secret": "luna-games-key"}, "deep": {"keys": [{"secret": "luna-a"}, {"secret": "luna-b"}]}},
        [],
    )
    assert promoted(table, "sol-live")[0]["key"] == {"secret": "sol-live-games-key"}


@pytest.mark.parametrize("name", ["demo-games-key", "solaris-key", "sol", "my-sol-key"])
def test_a_secret_that_both_would_have_is_noted(name: str) -> None:
    table = {"deep": {"keys": [{"secret": name}]}}
    assert promoted(table, "luna") == (table, [OF_BOTH.format("deep.keys[0]", name)])


def test_in_another_installation_secrets_keep_their_names() -> None:
    table = {"key": {"secret": "sol-games-key"}}
    assert promoted(table, "sol") == (table, [])


def test_addresses_and_names_in_tables_are_noted() -> None:
    table = {"id": "sol", "deep": {"gate": ["https://test.example/"], "number": 7}}
    assert promoted(table, "luna")[1] == [
        "plugins/games.toml: id = 'sol' speaks of the exported tenant; is it right here too?",
        "plugins/games.toml: deep.gate[0] = 'https://test.example/' is an address; is it right here too?",
    ]
