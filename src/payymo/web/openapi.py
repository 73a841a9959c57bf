"""The OpenAPI 3.1 document and the docs page, both made from what the routes declare."""

import html
import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from payymo import __version__
from payymo.web.caller import SLUG_MAX
from payymo.web.problems import CONTENT_TYPE
from payymo.web.routing import Output, Route


class FieldProblem(Output):
    """What is wrong with one member; `pointer` is a JSON pointer (RFC 6901)."""

    pointer: str
    detail: str


class Problem(Output):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None


HEADERS: Final = {
    "X-Request-ID": "Finds the request in the service's log.",
    "RateLimit-Policy": "The limit that is nearest to being used up.",
    "RateLimit": "What is left of it, and until when, in seconds.",
    "Retry-After": "When to try again, in seconds.",
    "WWW-Authenticate": "RFC 6750 §3.",
}
SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "service": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "payymo_…",
        "description": "A service credential. From networks that the operator has opened, none is needed.",
    },
    "client": {"type": "http", "scheme": "basic", "description": "An API key: its id, and its secret (RFC 6749 §4.4)."},
}
"""By the names that routes declare."""
_OF_STATUS: Final = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit-Policy", "RateLimit"),
    503: ("Retry-After",),
}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    routes = sorted(routes, key=lambda found: (found.path, found.method))
    bodies: list[type[BaseModel]] = [
        model for found in routes for model in (found.body, found.form, found.query) if model
    ]
    answers: list[type[BaseModel]] = [found.answer for found in routes if found.answer]
    shapes: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    shapes += [(model, "validation") for model in bodies]
    shapes += [(model, "serialization") for model in answers]
    shapes.append((Problem, "serialization"))
    names, definitions = models_json_schema(shapes, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for found in routes:
        operation = _operation(found, {model: names[model, mode] for model, mode in shapes})
        paths.setdefault(_template(found.path), {})[found.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Payymo",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "headers": {
                name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in HEADERS.items()
            },
            "securitySchemes": SCHEMES,
        },
    }


def _template(path: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def _operation(found: Route, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": found.name,
        "summary": found.summary,
        "tags": [found.path.split("/")[2] if found.path.startswith("/api/") else "discovery"],
        "parameters": [*_path_parameters(found.path), *_query_parameters(found.query), *_tenant_parameters(found)],
        "responses": {str(found.status): _success(found, schemas)}
        | {str(status): _refusal(status, schemas) for status in _refusals(found)}
        | {str(status): {"description": meaning} for status, meaning in found.also.items()},
    }
    if found.body is not None:
        content = {"application/json": {"schema": schemas[found.body]}}
        operation["requestBody"] = {"required": not found.body_is_optional, "content": content}
    if found.media is not None:
        content = {found.media: {"schema": {"type": "string", "contentMediaType": found.media}}}
        operation["requestBody"] = {"required": True, "content": content}
    if found.form is not None:
        content = {"application/x-www-form-urlencoded": {"schema": schemas[found.form]}}
        operation["requestBody"] = {"required": True, "content": content}
    if found.authentication is not None:
        operation["security"] = [{found.authentication: []}]
    elif found.scope is not None:
        operation["security"] = [{}, {"service": []}]  # one may be brought
    if found.scope is not None:
        operation["x-scope"] = found.scope
    if found.permission is not None:
        operation["x-permission"] = found.permission
    return operation


def _success(found: Route, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    if found.answer is None:
        return {"description": "A document of its own kind.", "headers": _headers()}
    schema = {"type": "object", "required": ["data"], "properties": {"data": schemas[found.answer]}}
    if found.speaks_oauth:
        schema = schemas[found.answer]
    headers = _headers("RateLimit-Policy", "RateLimit") if found.limit else _headers()
    return {"description": "Success.", "headers": headers, "content": {"application/json": {"schema": schema}}}


def _refusal(status: int, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    headers = _headers(*_OF_STATUS.get(status, ()))
    return {"description": "Refused.", "headers": headers, "content": {CONTENT_TYPE: {"schema": schemas[Problem]}}}


def _refusals(found: Route) -> list[int]:
    """Which refusals a route can answer, from what it declares."""
    statuses = {400, 404, 503}
    if found.limit is not None:
        statuses |= {429}
    if found.authentication is not None or found.scope is not None or found.path.startswith("/api/auth/"):
        statuses |= {401, 403}
    if found.body is not None or found.media is not None:
        statuses |= {409, 413, 415, 422}
    if found.form is not None:
        statuses |= {413, 415}
    if found.query is not None or "<" in found.path:
        statuses |= {422}
    return sorted(statuses)


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"} if kind == "uuid" else {"type": "string"},
        }
        for kind, name in re.findall(r"<(\w+):(\w+)>", path)
    ]


def _tenant_parameters(found: Route) -> list[dict[str, Any]]:
    """What is about a tenant can name it, where the host name does not."""
    if not found.path.startswith(("/api/auth/", "/api/admin/")):
        return []
    schema = {"type": "string", "maxLength": SLUG_MAX}
    what = "The tenant's slug. A token of another tenant is refused."
    return [{"name": "X-Tenant", "in": "header", "required": False, "description": what, "schema": schema}]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    schema = query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": found}
        for name, found in schema["properties"].items()
    ]


def docs_page(document: dict[str, Any]) -> str:
    """The document as a page for people: no scripts, nothing from elsewhere."""
    rows = "".join(
        _section(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        f'<section id="{html.escape(name)}"><h3>{html.escape(name)}</h3>{_members(schema)}</section>'
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Payymo API</title>'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/api/docs.css"></head><body>'
        f"<header><h1>Payymo API {html.escape(document['info']['version'])}</h1>"
        '<p>A success is <code>{"data": …}</code>, a refusal a problem document (RFC 9457). '
        '<a href="/api/openapi.json">OpenAPI 3.1 document</a></p></header>'
        f"<main>{rows}<h2>Shapes</h2>{schemas}</main></body></html>"
    )


def _section(path: str, method: str, operation: dict[str, Any]) -> str:
    facts = []
    if {"bearer": []} in operation.get("security", ()):
        facts.append("bearer token")
    if "x-scope" in operation:
        facts.append(f"service credential with scope <code>{html.escape(operation['x-scope'])}</code>")
    if "x-permission" in operation:
        facts.append(f"permission <code>{html.escape(operation['x-permission'])}</code>")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        facts.append(f"body {_type(body)}")
    success = next(iter(operation["responses"].values())).get("content", {}).get("application/json", {})
    if success:
        schema = success["schema"]
        facts.append(f"answers {_type(schema.get('properties', {}).get('data', schema))}")
    return (
        f"<section><h3><span>{method.upper()}</span> <code>{html.escape(path)}</code></h3>"
        f"<p>{html.escape(operation['summary'])}</p><p>{' · '.join(facts)}</p></section>"
    )


def _members(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code></td><td>{_type(found)}</td>"
        f"<td>{'required' if name in required else ''}</td></tr>"
        for name, found in schema.get("properties", {}).items()
    )
    return f"<p>{html.escape(schema.get('description', ''))}</p><table>{rows}</table>"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = html.escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return html.escape(str(schema.get("format") or schema.get("type") or schema.get("const") or "any"))
