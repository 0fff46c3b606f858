"""What is wrong with a tenant's files: every reason at once, each with its file and key."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, cast, get_args, get_origin

import msgspec

from pitboss.directory.contracts import LANGUAGES
from pitboss.tenancy.contracts import POLICY_FILE, THEME_FILE, BrandFile, Offer, Problem, TenantFile, TenantFolder
from pitboss_sdk.money import CURRENCIES

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+{_LABEL}\Z", re.ASCII)
_PLUGIN_FILE: Final = re.compile(r"plugins/([^/]+)\.toml\Z")
_IMAGE_FILE: Final = re.compile(r"theme/([a-z0-9][a-z0-9._-]{0,79}\.(?:png|webp))\Z", re.ASCII)
_BELONGING: Final = f"tenant.toml, {POLICY_FILE}, plugins/<slug>.toml, {THEME_FILE} and theme/<name>.png or .webp"

Claims = Mapping[str, str]
"""What a tenant takes for itself in the world (``domain x``, ``public_id y``) → the key that takes it."""


def parse_files(slug: str, files: Mapping[str, bytes]) -> tuple[TenantFolder | None, list[Problem]]:
    """Decode the files of the folder `slug`, named relative to it; the folder is None when `tenant.toml` is wrong."""
    problems: list[Problem] = []
    documents: dict[str, dict[str, Any]] = {}
    images: dict[str, bytes] = {}
    for name, content in sorted(files.items()):
        if image := _IMAGE_FILE.match(name):
            images[image[1]] = content
            continue
        if name not in {"tenant.toml", POLICY_FILE, THEME_FILE} and not _PLUGIN_FILE.match(name):
            problems.append(Problem(f"{slug}/{name}", "", f"no such file belongs here: {_BELONGING}"))
            continue
        try:
            documents[name] = tomllib.loads(content.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problems.append(Problem(f"{slug}/{name}", "", f"not TOML: {error}"))
    if "tenant.toml" not in files:
        problems.append(Problem(f"{slug}/tenant.toml", "", "missing"))
    if "tenant.toml" not in documents:
        return None, problems
    found = [
        Problem(f"{slug}/tenant.toml", key, reason)
        for key, reason in _find_misfits(documents["tenant.toml"], TenantFile, "")
    ]
    if found:
        return None, problems + found
    tenant = msgspec.convert(documents["tenant.toml"], TenantFile)
    plugins = {match[1]: table for name, table in documents.items() if (match := _PLUGIN_FILE.match(name))}
    problems += [
        Problem(f"{slug}/plugins/{plugin}.toml", "", "tenant.toml does not list this plugin")
        for plugin in sorted(plugins)
        if plugin not in tenant.plugins
    ]
    listed = {plugin: plugins.get(plugin, {}) for plugin in tenant.plugins}
    policy, theme = documents.get(POLICY_FILE, {}), documents.get(THEME_FILE, {})
    return TenantFolder(tenant, listed, policy, theme, images), problems


def _find_misfits(value: Any, kind: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield key and reason of everything in `value` that does not fit `kind`; msgspec alone stops at the first."""
    if isinstance(kind, type) and issubclass(cast("type[object]", kind), msgspec.Struct):
        yield from _find_misfits_in_table(value, kind, key)
    elif get_origin(kind) is tuple and isinstance(value, dict):
        yield key, f"must be a list of tables: write [[{key}]]"
    elif get_origin(kind) is tuple and isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _find_misfits(item, get_args(kind)[0], f"{key}[{index}]")
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at ")[0].replace("`", "")
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            yield key, f"{reason}; known are {', '.join(choices)}" if choices else reason


def _find_misfits_in_table(value: Any, kind: type[msgspec.Struct], key: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield key, "must be a table"
        return
    table = cast("dict[str, Any]", value)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    prefix = f"{key}." if key else ""
    for name in table:
        if name not in fields:
            yield prefix + name, f"unknown key; known are {', '.join(fields)}"
    for name, field in fields.items():
        if name in table:
            yield from _find_misfits(table[name], field.type, prefix + name)
        elif field.required:
            yield prefix + name, "missing"


def find_tenant_problems(folder: str, tenant: TenantFile, offer: Offer) -> list[Problem]:
    """Return what is wrong with a well-formed `tenant.toml` by itself and against what is installed here."""
    return [Problem(f"{folder}/tenant.toml", key, reason) for key, reason in _judge(folder, tenant, offer)]


def _judge(folder: str, tenant: TenantFile, offer: Offer) -> Iterator[tuple[str, str]]:
    if tenant.slug != folder:
        yield "slug", f"must be the name of the folder, {folder}"
    place = offer.cells.get(tenant.cell)
    if place is None:
        yield "cell", f"unknown cell {tenant.cell}; known are {', '.join(sorted(offer.cells)) or 'none'}"
    elif place.locality != tenant.locality:
        yield "locality", f"cell {tenant.cell} lies in {place.locality}, not in {tenant.locality}"
    for index, code in enumerate(tenant.currencies):
        if code not in CURRENCIES:
            yield f"currencies[{index}]", f"unknown currency {code}; a code of ISO 4217 in capitals, such as EUR"
    for key, values in (("currencies", tenant.currencies), ("packs", tenant.packs), ("plugins", tenant.plugins)):
        yield from _find_repeats(key, values)
    for key, values in (("currencies", tenant.currencies), ("brands", tenant.brands)):
        if not values:
            yield key, "at least one is needed"
    yield from _find_repeats("brands", [brand.slug for brand in tenant.brands], ".slug")
    owners: dict[str, str] = {}
    for number, brand in enumerate(tenant.brands):
        key = f"brands[{number}]"
        yield from _judge_brand(key, brand)
        yield from _judge_pack(f"{key}.pack", brand.pack, tenant.packs)
        for index, domain in enumerate(brand.domains):
            here = f"{key}.domains[{index}]"
            if domain in owners:
                yield here, f"domain {domain} is given twice, first as {owners[domain]}"
            owners.setdefault(domain, here)


def _judge_brand(key: str, brand: BrandFile) -> Iterator[tuple[str, str]]:
    for index, domain in enumerate(brand.domains):
        if not _DOMAIN.match(domain):
            yield f"{key}.domains[{index}]", f"{domain!r} is no host name (lower case, at least one dot, no port)"
    for index, language in enumerate(brand.languages):
        if language not in LANGUAGES:
            yield f"{key}.languages[{index}]", f"unknown language {language}; known are {', '.join(LANGUAGES)}"
    yield from _find_repeats(f"{key}.languages", brand.languages)
    for name, values in (("domains", brand.domains), ("languages", brand.languages)):
        if not values:
            yield f"{key}.{name}", "at least one is needed"
    if brand.default_language not in brand.languages:
        yield f"{key}.default_language", f"{brand.default_language} is not among the brand's languages"


def _judge_pack(key: str, pack: str, packs: Sequence[str]) -> Iterator[tuple[str, str]]:
    if pack and pack not in packs:
        yield key, f"{pack} is not among the tenant's packs: {', '.join(packs) or 'there is none'}"
    elif not pack and len(set(packs)) > 1:
        yield key, f"missing; a brand is under one of the tenant's packs: {', '.join(packs)}"


def _find_repeats(key: str, values: Iterable[str], suffix: str = "") -> Iterator[tuple[str, str]]:
    listed = list(values)
    for value, times in Counter(listed).items():
        if times > 1:
            last = len(listed) - 1 - listed[::-1].index(value)
            yield f"{key}[{last}]{suffix}", f"{value} is given {times} times"


def claims_of(content: bytes) -> Claims:
    """Return what a `tenant.toml` claims, as far as it can be read; its own check says what is wrong with it."""
    try:
        document: Any = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}
    claims: dict[str, str] = {}
    if isinstance(document.get("public_id"), str):
        claims[f"public_id {document['public_id'].lower()}"] = "public_id"
    brands: Any = document.get("brands")
    for number, brand in enumerate(cast("list[Any]", brands) if isinstance(brands, list) else []):
        domains: Any = cast("dict[str, Any]", brand).get("domains") if isinstance(brand, dict) else None
        for index, domain in enumerate(cast("list[Any]", domains) if isinstance(domains, list) else []):
            claims[f"domain {domain}"] = f"brands[{number}].domains[{index}]"
    return claims


def find_clashes(slug: str, own: Claims, others: Mapping[str, Claims]) -> list[Problem]:
    """Return what the tenant `slug` claims although another folder claims it too."""
    return [
        Problem(f"{slug}/tenant.toml", key, f"{claim} is claimed by {other}/tenant.toml too")
        for claim, key in own.items()
        for other in sorted(others)
        if other != slug and claim in others[other]
    ]
