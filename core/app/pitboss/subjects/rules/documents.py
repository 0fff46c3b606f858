"""How what is held of a subject is told: one JSON document, tables for a spreadsheet, a page to read; and to take away."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

import msgspec

from pitboss.kernel.classes import SORTS
from pitboss.subjects.contracts import Held, Row, Subject
from pitboss.subjects.rules.words import KIND_WORDS, WORDS, column_of

ACCESS_FORMAT: Final = "pitboss.subject.access.1"
PORTABLE_FORMAT: Final = "pitboss.subject.portable.1"
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;"
    "padding:0 1rem}table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{border:1px solid #8888;"
    "padding:.25rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}.scroll{overflow-x:auto}"
)

PORTABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "player": {
        "public_id": "string",
        "brand": "string",
        "language": "string",
        "currency": "string",
        "registered_at": "date-time",
    },
    "player_identity": {
        "email": "string",
        "first_name": "string",
        "last_name": "string",
        "birth_date": "date",
        "country": "string",
        "phone": "string",
    },
    "player_limit": {"kind": "integer", "period": "integer", "amount_minor": "integer", "set_at": "date-time"},
    "play_time_limit": {"period": "integer", "limit_minutes": "integer", "set_at": "date-time"},
    "exclusion": {"kind": "integer", "starts_at": "date-time", "ends_at": "date-time?"},
    "game_session": {"session_id": "string", "game_id": "integer", "opened_at": "date-time"},
    "round": {
        "reference": "string",
        "started_at": "date-time",
        "currency": "string",
        "bet_real": "integer",
        "bet_bonus": "integer",
        "win_minor": "integer",
    },
    "wallet": {"currency": "string", "real_minor": "integer", "bonus_minor": "integer", "opened_at": "date-time"},
}
"""What a player gave us and did with us, table by table, with its type: the part that may be taken elsewhere."""


def compose_access(
    subject: Subject, held: Sequence[Held], *, tenant: str, language: str, made_at: datetime
) -> dict[str, bytes]:
    """Return the files of an access export by name: everything in JSON, each table as CSV, and a page to read."""
    document = {
        "format": ACCESS_FORMAT,
        "tenant": tenant,
        "subject": str(subject.public_id),
        "made_at": made_at,
        "tables": [_table(each) for each in held],
    }
    files = {"data.json": msgspec.json.format(msgspec.json.encode(document), indent=1)}
    for each in held:
        if each.rows:
            files[f"csv/{each.table}.csv"] = _csv(each)
    files["index.html"] = _page(subject, held, tenant=tenant, language=language, made_at=made_at)
    return files


def compose_portable(
    subject: Subject, held: Sequence[Held], *, tenant: str, language: str, made_at: datetime
) -> dict[str, bytes]:
    """Return the file that a subject may take elsewhere; its shape is `portable_schema`."""
    del language
    rows = {each.table: each.rows for each in held}
    document: dict[str, Any] = {
        "format": PORTABLE_FORMAT,
        "tenant": tenant,
        "subject": str(subject.public_id),
        "made_at": made_at,
    }
    for table, fields in PORTABLE.items():
        document[table] = [{name: row.get(name) for name in fields} for row in rows.get(table, ())]
    return {"portable.json": msgspec.json.format(msgspec.json.encode(document), indent=1)}


def portable_schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of the file that a subject may take elsewhere."""
    properties: dict[str, Any] = {
        "format": {"const": PORTABLE_FORMAT},
        "tenant": {"type": "string"},
        "subject": {"type": "string", "format": "uuid"},
        "made_at": {"type": "string", "format": "date-time"},
    }
    for table, fields in PORTABLE.items():
        row = {name: _type(kind) for name, kind in fields.items()}
        items = {"type": "object", "properties": row, "required": list(row), "additionalProperties": False}
        properties[table] = {"type": "array", "items": items}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What a player takes elsewhere; amounts are integers in minor units",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _type(kind: str) -> dict[str, Any]:
    optional = kind.endswith("?")
    name = kind.removesuffix("?")
    found: dict[str, Any] = {"type": name} if name in {"integer", "string"} else {"type": "string", "format": name}
    return {"anyOf": [found, {"type": "null"}]} if optional else found


def _table(each: Held) -> dict[str, Any]:
    columns = [
        {
            "name": name,
            "kind": SORTS[sort].kind,
            "meaning": SORTS[sort].meaning,
            **({"withheld": each.withheld[name]} if name in each.withheld else {}),
        }
        for name, sort in each.sorts.items()
    ]
    return {"name": each.table, "columns": columns, "rows": list(each.rows)}


def _text(value: Any) -> str:
    if value is None:
        return ""
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()


def _names(each: Held) -> list[str]:
    return [name for name in each.sorts if any(name in row for row in each.rows)]


def _csv(each: Held) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    names = _names(each)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in each.rows)
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    """Return a cell that no spreadsheet takes for a formula; numbers stay what they are."""
    text = _text(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _page(subject: Subject, held: Sequence[Held], *, tenant: str, language: str, made_at: datetime) -> bytes:
    column = column_of(language)
    words = {key: each[column] for key, each in WORDS.items()}
    parts = [
        f'<!doctype html><html lang="{escape(language)}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(words["title"])}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(words['title'])}</h1>",
        f"<p>{escape(words['intro'])}</p>",
        f"<p>{escape(tenant)} · {subject.public_id} · {made_at.isoformat(timespec='seconds')}</p>",
    ]
    parts += [_section(each, words, column) for each in held if each.rows]
    empty = ", ".join(each.table for each in held if not each.rows)
    if empty:
        parts.append(f"<h2>{escape(words['nothing'])}</h2><p>{escape(empty)}</p>")
    return "".join([*parts, "</body></html>"]).encode()


def _section(each: Held, words: Mapping[str, str], column: int) -> str:
    names = _names(each)
    kinds = [KIND_WORDS[SORTS[each.sorts[name]].kind][column] for name in names]
    heads = "".join(
        f'<th scope="col">{escape(name)}<br><small>{escape(kind)}</small></th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = "".join(_line(row, names) for row in each.rows)
    withheld = ", ".join(each.withheld)
    note = f"<p>{escape(words['withheld'])}: {escape(withheld)}</p>" if withheld else ""
    title = escape(each.table)
    return (
        f'<section aria-label="{title}"><h2>{title}</h2>{note}<div class="scroll" tabindex="0" role="group" '
        f'aria-label="{title}"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div></section>'
    )


def _line(row: Row, names: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(_text(row.get(name)))}</td>" for name in names) + "</tr>"
