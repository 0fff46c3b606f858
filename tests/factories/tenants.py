"""A folder of tenants and a deployment that can apply it, on real databases."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import text
from tests.factories.databases import PlaneDatabase, settings_for

import pitboss.tenancy.service as tenancy
from pitboss.cli.demo_secrets import make_demo_secrets
from pitboss.cli.tenant_apply import Deployment, Workshop, apply
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.platform.embedded import write_private
from pitboss.platform.settings import Settings, list_settings
from pitboss.tenancy.contracts import By

ROOT = Path(__file__).parents[2]
BY = By(Actor(ActorKind.DEPLOYMENT, "tester"), Origin(request_id="test"))


def copy_tenants(folder: Path) -> Path:
    """Return a copy of the shipped tenants that a test may change."""
    copied = folder / "tenants"
    shutil.copytree(ROOT / "tenants", copied)
    return copied


def edit(tenants_dir: Path, slug: str, old: str, new: str) -> None:
    """Replace a piece of a tenant's `tenant.toml`; the piece must be there."""
    file = tenants_dir / slug / "tenant.toml"
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new))


def edit_plugin(tenants_dir: Path, slug: str, plugin: str, old: str, new: str) -> None:
    """Replace a piece of a plugin's configuration; the piece must be there."""
    file = tenants_dir / slug / "plugins" / f"{plugin}.toml"
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new))


def write_plugin_secrets(file: Path, tenants_dir: Path, **known: str) -> dict[str, str]:
    """Write a value for every secret that the tenants' plugins name, and return them; `known` are given by the test."""
    texts = [config.read_text() for config in tenants_dir.glob("*/plugins/*.toml")]
    made = make_demo_secrets(set(re.findall(r'secret = "([^"]+)"', "".join(texts)))) | known
    write_private(file, "".join(f'{name} = "{value}"\n' for name, value in made.items()))
    return made


def twin(tenants_dir: Path, slug: str, public_id: str) -> None:
    """Add another tenant beside Aurora that claims nothing of hers."""
    shutil.copytree(tenants_dir / "aurora", tenants_dir / slug)
    file = tenants_dir / slug / "tenant.toml"
    content = file.read_text().replace("01a1fbe4-4666-757a-bf99-969a96f72ab2", public_id)
    file.write_text(content.replace("aurora", slug).replace("Aurora", slug.title()))
    theme = tenants_dir / slug / "theme/theme.toml"
    theme.write_text(theme.read_text().replace("brands.aurora", f"brands.{slug}"))


def tenant_settings(control: PlaneDatabase, cell: PlaneDatabase, tenants_dir: Path) -> Settings:
    """Return the settings of a deployment of cell `eu-1`."""
    settings = settings_for(control=control, cell=cell)
    return msgspec.structs.replace(settings, tenants_dir=tenants_dir, cell_file=ROOT / "deploy/cells/eu-1.toml")


def open_deployment(settings: Settings) -> Deployment:
    """Return a deployment; whoever opens it closes it."""
    return Deployment(Workshop(settings), BY)


State = dict[str, Any]


async def run_apply(deployment: Deployment, slug: str = "aurora") -> int:
    """Apply one tenant as the command does and return how much was changed."""
    return len((await apply(deployment, deployment.workshop.check(slug))).entries)


_CONTROL = {
    "tenant": "select slug, public_id::text, name, state, locality, cell, environment, currencies, packs, plugins,"
    " activated_at is not null from tenant order by slug",
    "brand": "select t.slug, b.slug, b.name, languages, default_language, pack from brand b join tenant t using (tenant_id)"
    " order by 1, 2",
    "domain": "select domain, brand from domain order by 1",
    "cell": "select cell, locality, directory_version from cell order by 1",
    "published": "select cell, version, key_id from published_directory order by 1, 2",
    "audit": "select type, target_type, target_id, changes::text from audit_event order by event_id",
}
_CELL = {
    "house_account": "select kind, currency, provider from house_account order by 1, 2, 3",
    "source": "select name from source order by 1",
    "plugin": "select slug, distribution, version, config::text, enabled from plugin_enablement order by 1",
    "policy": "select policy::text, packs::text from tenant_policy order by tenant_id",
    "theme": "select brand, version, colour, names::text, stylesheet, logo, logo_type from brand_theme order by 1",
    "audit": "select type, target_type, target_id, changes::text from audit_event order by type, target_id, changes::text",
    "directory": "select version, key_id from directory_snapshot order by 1",
}


async def read_state(deployment: Deployment) -> State:
    """Return everything that an apply may change, without numbers that a sequence gave."""
    state: State = {}
    async with deployment.control.transaction() as session:
        for name, query in _CONTROL.items():
            state[f"control.{name}"] = [tuple(row) for row in await session.execute(text(query))]
        numbers = [tenant.tenant_id for tenant in await tenancy.list_tenants(session)]
    async with deployment.cell.tenants_transaction(numbers) as session:
        for name, query in _CELL.items():
            state[f"cell.{name}"] = [tuple(row) for row in await session.execute(text(query))]
    return state


def count_rows(state: State) -> int:
    return sum(map(len, state.values()))


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that give a process these settings."""

    def write(value: Any) -> str:
        if isinstance(value, tuple):
            return ",".join(map(write, value))
        if isinstance(value, msgspec.Struct):
            return ":".join(part.hex() if isinstance(part, bytes) else part for part in msgspec.structs.astuple(value))
        return str(value)

    values = {doc.variable: getattr(settings, doc.field) for doc in list_settings()}
    given = {variable: write(value) for variable, value in values.items() if value not in {None, ()}}
    return {**{key: value for key, value in os.environ.items() if not key.startswith("PITBOSS_")}, **given}
