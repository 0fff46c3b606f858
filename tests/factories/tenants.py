"""A folder of tenants and a deployment that can apply it, on real databases."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
from tests.factories.databases import PlaneDatabase, settings_for

from pitboss.cli.tenant_apply import Deployment, Workshop
from pitboss.kernel.scope import Actor, ActorKind, Origin
from pitboss.platform.settings import Settings
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


def twin(tenants_dir: Path, slug: str, public_id: str) -> None:
    """Add another tenant beside Aurora that claims nothing of hers."""
    shutil.copytree(tenants_dir / "aurora", tenants_dir / slug)
    file = tenants_dir / slug / "tenant.toml"
    content = file.read_text().replace("01a1fbe4-4666-757a-bf99-969a96f72ab2", public_id)
    file.write_text(content.replace("aurora", slug).replace("Aurora", slug.title()))


def tenant_settings(control: PlaneDatabase, cell: PlaneDatabase, tenants_dir: Path) -> Settings:
    """Return the settings of a deployment of cell `eu-1`."""
    settings = settings_for(control=control, cell=cell)
    return msgspec.structs.replace(settings, tenants_dir=tenants_dir, cell_file=ROOT / "deploy/cells/eu-1.toml")


def open_deployment(settings: Settings) -> Deployment:
    """Return a deployment; whoever opens it closes it."""
    return Deployment(Workshop(settings), BY)
