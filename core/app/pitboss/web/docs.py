"""The description of the API: OpenAPI 3.1 as JSON, and a page that shows it without any script from outside."""

from typing import Any, Final, cast

from litestar import Litestar, Request, Router
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Reference

from pitboss.web.brand import find_brand
from pitboss.web.pages import BrandLook, render_page
from pitboss.web.security import check_known_host

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_MAX_DEPTH: Final = 4


class OperationsPage(OpenAPIRenderPlugin):
    """Lists every operation with its parameters, bodies and answers."""

    def __init__(self) -> None:
        super().__init__(path="/docs")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the page."""
        brand = find_brand(request)
        page = render_page(
            "api_docs.html",
            look=BrandLook(brand.name) if brand else None,
            title=openapi_schema["info"]["title"],
            groups=list_operations(openapi_schema),
            description=openapi_schema["info"].get("description", ""),
        )
        return page.content.encode()


def create_router() -> Router:
    """Return the router below which the description is served."""
    return Router(
        "/api",
        route_handlers=[],
        guards=[check_known_host],
        opt={"public": "describes the API, holds no data"},
        include_in_schema=False,
    )


def describe_refusals(app: Litestar) -> None:
    """Let the description say what is answered to a bad request; the framework describes its own shape instead."""
    problem = OpenAPIMediaType(schema=Reference(ref="#/components/schemas/Problem"))
    for item in (app.openapi_schema.paths or {}).values():
        for operation in (item.get, item.post, item.put, item.patch, item.delete):
            if operation is None or operation.responses is None or "400" not in operation.responses:
                continue
            for status, description in (("400", "The request cannot be read"), ("422", "The request is not valid")):
                if status == "400" or status not in operation.responses:
                    content = {"application/problem+json": problem}
                    operation.responses[status] = OpenAPIResponse(description=description, content=content)


def list_operations(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of an OpenAPI document by tag, in the order of their paths, ready to be shown."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, item in sorted(schema.get("paths", {}).items()):
        for method in _METHODS:
            operation = item.get(method)
            if operation is None:
                continue
            tag = (operation.get("tags") or ["API"])[0]
            groups.setdefault(tag, []).append(_describe(path, method, operation, schema))
    return [{"tag": tag, "operations": operations} for tag, operations in sorted(groups.items())]


def _describe(path: str, method: str, operation: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {})
    return {
        "path": path,
        "method": method.upper(),
        "anchor": str(operation.get("operationId", f"{method}-{path}")),
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "parameters": [
            {
                "place": parameter.get("in", ""),
                "field": parameter.get("name", ""),
                "required": parameter.get("required", False),
                "type": _type_of(parameter.get("schema", {}), schema),
                "about": parameter.get("description", ""),
            }
            for parameter in operation.get("parameters", [])
        ],
        "body": _fields(_content_schema(body), schema),
        "answers": [
            {
                "status": status,
                "about": answer.get("description", ""),
                "fields": _fields(_content_schema(answer), schema),
            }
            for status, answer in sorted(operation.get("responses", {}).items())
        ],
    }


def _content_schema(part: dict[str, Any]) -> dict[str, Any]:
    for media in part.get("content", {}).values():
        return cast("dict[str, Any]", media.get("schema", {}))
    return {}


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref", "")
    if not reference:
        return node
    found: Any = schema
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return cast("dict[str, Any]", found)


def _fields(node: dict[str, Any], schema: dict[str, Any], prefix: str = "", depth: int = 0) -> list[dict[str, Any]]:
    resolved = _resolve(node, schema)
    if resolved.get("type") == "array":
        return _fields(resolved.get("items", {}), schema, f"{prefix}[]", depth + 1)
    rows: list[dict[str, Any]] = []
    for field, inner in resolved.get("properties", {}).items():
        name = f"{prefix}.{field}" if prefix else field
        rows.append(
            {
                "field": name,
                "required": field in resolved.get("required", []),
                "type": _type_of(inner, schema),
                "about": inner.get("description", ""),
            }
        )
        if depth < _MAX_DEPTH:
            rows.extend(_fields(inner, schema, name, depth + 1))
    return rows


def _type_of(node: dict[str, Any], schema: dict[str, Any]) -> str:
    resolved = _resolve(node, schema)
    for joiner in ("oneOf", "anyOf"):
        if joiner in resolved:
            return " | ".join(dict.fromkeys(_type_of(part, schema) for part in resolved[joiner]))
    if "enum" in resolved:
        return " | ".join(str(choice) for choice in resolved["enum"])
    kind = resolved.get("type", "any")
    if kind == "array":
        return f"list of {_type_of(resolved.get('items', {}), schema)}"
    if isinstance(kind, list):
        return " | ".join(str(part) for part in cast("list[object]", kind))
    return f"{kind} ({resolved['format']})" if "format" in resolved else str(kind)
