"""Templates and static files of the platform's own pages: no inline script or style, nothing from outside."""

from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response, get
from litestar.enums import MediaType
from litestar.exceptions import NotFoundException
from litestar.params import FromPath


class BrandLook(msgspec.Struct, frozen=True):
    """Whose page it is: a brand's name, and the version of its theme where it has one."""

    name: str
    version: str = ""
    has_logo: bool = False


_HERE: Final = Path(__file__).parent
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES: Final = {
    path.name: (path.read_bytes(), _TYPES[path.suffix])
    for path in sorted((_HERE / "static").iterdir())
    if path.suffix in _TYPES
}
_VERSIONS: Final = {name: sha256(content).hexdigest()[:12] for name, (content, _) in _FILES.items()}


def static_address(name: str) -> str:
    """Return the address of a static file; it changes with the content, so that browsers may keep it for long."""
    return f"/static/{_VERSIONS[name]}/{name}"


def _create_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    cast("dict[str, Any]", environment.globals)["static_address"] = static_address  # pyright: ignore[reportUnknownMemberType] - untyped there
    return environment


_ENVIRONMENT: Final = _create_environment()


def tell_day(moment: datetime | date | None) -> str:
    """Return a day as pages show it, in UTC; a dash for none."""
    if moment is None:
        return "–"
    return moment.astimezone(UTC).date().isoformat() if isinstance(moment, datetime) else moment.isoformat()


def tell_moment(moment: datetime | None) -> str:
    """Return a moment as pages show it, in UTC to the minute; a dash for none."""
    return "–" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def render_page(template: str, **context: Any) -> Response[str]:
    """Return a page as an HTTP answer."""
    text = _ENVIRONMENT.get_template(template).render(**{"look": None, **context})
    return Response(text, media_type=MediaType.HTML, headers={"Vary": "Accept-Language"})


@get(
    "/static/{version:str}/{name:str}",
    opt={"public": "style and script of our own pages, no data"},
    include_in_schema=False,
)
async def show_static(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Return a static file."""
    if _VERSIONS.get(name) != version:
        raise NotFoundException
    content, media_type = _FILES[name]
    return Response(content, media_type=media_type, headers={"Cache-Control": "public, max-age=31536000, immutable"})
