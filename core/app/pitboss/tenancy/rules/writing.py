"""A tenant as the files that describe it: what `pitboss tenant new` and `pitboss tenant export` write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from pitboss.tenancy.contracts import POLICY_FILE, THEME_FILE, BrandFile, TenantFile, TenantFolder, TenantRecord

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
_INLINE_PARTS: Final = 3
"""A table of so many plain values stands on one line."""

_TENANT: Final = """\
# Desired state of one tenant; `pitboss tenant plan {slug}` shows what an apply would change.
# slug, public_id, locality, cell and environment never change once the tenant is applied.
"""
_POLICY: Final = """\
# What this tenant tightens, by the names that packs use; a looser value is refused.
# `pitboss policy explain {slug}` shows what applies and who says so.
"""
_THEME: Final = """\
# How each brand looks: one colour, from which light and dark values are derived; a logo (PNG or WebP) beside this
# file as `logo = "logo.png"`; and another name in a language as `names = {{ es = "…" }}`.
"""
_PLUGIN: Final = "# Secrets are names in the cell's secret store; `pitboss tenant secrets {slug}` lists them.\n"


def render_folder(folder: TenantFolder) -> dict[str, bytes]:
    """Return the files of a tenant by their names in its folder; read again they say the same."""
    slug = folder.tenant.slug
    files = {
        "tenant.toml": _TENANT.format(slug=slug) + "".join(_tenant_lines(folder.tenant)),
        POLICY_FILE: _POLICY.format(slug=slug) + render_table(folder.policy),
        THEME_FILE: _THEME.format(slug=slug) + render_table(folder.theme),
        **{
            f"plugins/{plugin}.toml": _PLUGIN.format(slug=slug) + render_table(table)
            for plugin, table in folder.plugins.items()
        },
    }
    images = {f"theme/{name}": content for name, content in folder.images.items()}
    return {**{name: text.encode() for name, text in files.items()}, **images}


def _tenant_lines(tenant: TenantFile) -> Iterator[str]:
    for field in ("slug", "name", "public_id", "locality", "cell", "environment"):
        yield f"{field} = {_value(str(getattr(tenant, field)))}\n"
    yield "\n"
    for field in ("currencies", "packs", "plugins"):
        yield f"{field} = {_value(getattr(tenant, field))}\n"
    for brand in tenant.brands:
        yield "\n[[brands]]\n"
        for field in BrandFile.__struct_fields__:
            if field != "pack" or brand.pack:
                yield f"{field} = {_value(getattr(brand, field))}\n"


def file_from_record(record: TenantRecord) -> TenantFile:
    """Return the `tenant.toml` of a tenant as control holds it; its number and its state stand in no file."""
    return TenantFile(
        slug=record.slug,
        name=record.name,
        public_id=record.public_id,
        locality=record.locality,
        cell=record.cell,
        environment=cast("Any", record.environment),
        currencies=record.currencies,
        packs=record.packs,
        plugins=record.plugins,
        brands=tuple(
            BrandFile(
                slug=brand.slug,
                name=brand.name,
                domains=brand.domains,
                languages=brand.languages,
                default_language=brand.default_language,
                pack=brand.pack if len(record.packs) > 1 else "",
            )
            for brand in record.brands
        ),
    )


def render_table(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> str:
    """Return a table of plain values as TOML: texts, numbers, switches, lists, and tables of them."""
    own = {key: value for key, value in table.items() if not _is_section(value)}
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in own.items()]
    for key, value in table.items():
        if _is_section(value):
            path = (*above, key)
            lines.append(f"\n[{'.'.join(map(_key, path))}]\n{render_table(value, path)}")
    return "".join(lines)


def _is_section(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    parts = list(cast("Mapping[str, object]", value).values())
    return len(parts) > _INLINE_PARTS or any(isinstance(part, (Mapping, list, tuple)) for part in parts)


def _key(key: str) -> str:
    return key if _BARE_KEY.match(key) else _text(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, object]", value).items()
        inside = ", ".join(f"{_key(key)} = {_value(part)}" for key, part in parts)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, cast('Sequence[object]', value)))}]"
    return _text(str(value))


def _text(text: str) -> str:
    # JSON escapes as TOML does, but for one character that only TOML forbids.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
