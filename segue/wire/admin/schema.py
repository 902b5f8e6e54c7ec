"""The administration's OpenAPI document, made of the table of operations.

Laws: pure; every shape that an operation names is here; what is refused is described with every operation that can
refuse it, so that a program can be written, and the server tested, from the document alone.
"""

from __future__ import annotations

import re
from typing import get_args

from segue.core.replicas import URL_CHARACTERS_MAX, WEIGHT_MAX, WEIGHT_MIN, Origin
from segue.core.tenancy import Role
from segue.core.usage import TIMED_MAX
from segue.wire.admin.operations import BASE, OPERATIONS, PAGE, PAGE_MAX, Operation, Shape
from segue.wire.admin.read import EXPIRES_IN_MAX_S, LIMITS
from segue.wire.admin.usage import COUNTED, DAYS, ROWS, ROWS_MAX, SIDES, TIMES

Json = dict[str, object]

ALWAYS_REFUSED = (401, 403, 500)
"""No key, a key that may not, a mistake of ours."""

_TEXT: Json = {"type": "string"}
_TIME: Json = {"type": "integer", "description": "In unix seconds."}
_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 128}
_ID: Json = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}
_ROLE: Json = {"type": "string", "enum": list(get_args(Role))}
_MODELS: Json = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}


def _or_null(schema: Json) -> Json:
    return {"oneOf": [schema, {"type": "null"}]}


def _object(required: Json, optional: Json | None = None, **more: object) -> Json:
    properties = {**required, **(optional or {})}
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    return {**schema, "required": list(required)} if required else schema


def _list_of(shape: str) -> Json:
    data = {"type": "array", "items": _ref(shape)}
    return _object({"object": {"const": "list"}, "data": data, "has_more": {"type": "boolean"}})


def _ref(shape: str) -> Json:
    return {"$ref": f"#/components/schemas/{shape}"}


_LIMITS_TOLD = _object({name: _or_null({"type": "integer"}) for name in LIMITS})
_LIMITS_GIVEN = _object(
    {}, {name: _or_null({"type": "integer", "minimum": 1, "maximum": 10**15}) for name in LIMITS}, minProperties=0
)
_END: Json = {
    "expires_at": _or_null(_TIME),
    "expires_in_s": {"type": "integer", "minimum": 1, "maximum": EXPIRES_IN_MAX_S},
}
_SPREAD: Json = {
    **_object({"p50": _or_null({"type": "number"}), "p95": _or_null({"type": "number"})}),
    "description": f"Of answers that came to their own end: the latest {TIMED_MAX} of those that are asked about.",
}
_DAY: Json = {"type": "string", "format": "date", "pattern": "^(19[7-9]|[2-9][0-9]{2})[0-9]-[0-9]{2}-[0-9]{2}$"}
_WORKSPACE: Json = {
    "object": {"const": "workspace"},
    "id": _TEXT,
    "organisation": _TEXT,
    "name": _TEXT,
    "created_at": _TIME,
    "models": _or_null(_MODELS),
    "limits": _LIMITS_TOLD,
}
_WEIGHT: Json = {"type": "number", "minimum": WEIGHT_MIN, "maximum": WEIGHT_MAX}
_REPLICA: Json = {
    "object": {"const": "replica"},
    "model": _TEXT,
    "id": _TEXT,
    "url": _TEXT,
    "weight": {"type": "number"},
    "origin": {"type": "string", "enum": list(get_args(Origin))},
    "draining": {"type": "boolean"},
    "ready": _or_null({"type": "boolean"}),
    "running": _or_null({"type": "integer"}),
}
_KEY: Json = {
    "object": {"const": "key"},
    "id": _TEXT,
    "workspace": _TEXT,
    "name": _TEXT,
    "role": _ROLE,
    "hint": {"type": "string", "description": "How its secret begins."},
    "created_at": _TIME,
    "expires_at": _or_null(_TIME),
    "revoked_at": _or_null(_TIME),
    "models": _or_null(_MODELS),
    "limits": _LIMITS_TOLD,
}

SHAPES: dict[Shape, Json] = {
    "Organisation": _object(
        {"object": {"const": "organisation"}, "id": _TEXT, "name": _TEXT, "created_at": _TIME},
    ),
    "OrganisationChange": _object({"name": _NAME}),
    "Workspace": _object(_WORKSPACE),
    "NewWorkspace": _object({"name": _NAME}, {"id": _ID, "models": _MODELS, "limits": _LIMITS_GIVEN}),
    "WorkspaceChange": _object({}, {"name": _NAME, "models": _MODELS, "limits": _LIMITS_GIVEN}),
    "RemovedWorkspace": _object({"object": {"const": "workspace"}, "id": _TEXT, "removed": {"const": True}}),
    "Workspaces": _list_of("Workspace"),
    "Authorisations": _object({"object": {"const": "authorisations"}, "workspace": _TEXT, "models": _or_null(_MODELS)}),
    "Key": _object(_KEY),
    "NewKey": _object(
        {"name": _NAME},
        {"workspace": _ID, "role": _ROLE, **_END, "models": _or_null(_MODELS), "limits": _LIMITS_GIVEN},
    ),
    "MadeKey": _object({**_KEY, "secret": {"type": "string", "description": "Shown now and never again."}}),
    "KeyChange": _object(
        {}, {"name": _NAME, "role": _ROLE, **_END, "models": _or_null(_MODELS), "limits": _LIMITS_GIVEN}
    ),
    "Keys": _list_of("Key"),
    "Replica": _object(_REPLICA),
    "NewReplica": _object(
        {"url": {"type": "string", "format": "uri", "maxLength": URL_CHARACTERS_MAX}},
        {"weight": _WEIGHT, "key_env": _TEXT, "addresses": {"type": "boolean"}},
    ),
    "ReplicaChange": _object({}, {"draining": {"type": "boolean"}, "weight": _WEIGHT}),
    "RemovedReplica": _object({"object": {"const": "replica"}, "id": _TEXT, "removed": {"const": True}}),
    "Replicas": _list_of("Replica"),
    "Acts": _object(
        {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": _object(
                    {
                        "object": {"const": "act"},
                        "id": {"type": "integer"},
                        "at": {"type": "number", "description": "In unix seconds."},
                        "who": {"type": "string", "description": "A key's id, or `cli:` and a user of the machine."},
                        "what": _TEXT,
                        "workspace": _TEXT,
                        "subject": _TEXT,
                        "details": {"type": "object"},
                    }
                ),
            },
            "has_more": {"type": "boolean"},
        }
    ),
    "Usage": _object(
        {
            "rows": {
                "type": "array",
                "items": _object(
                    {
                        **{
                            side: {**_or_null(_TEXT), "description": "Null where it was not asked for."}
                            for side in SIDES
                        },
                        **{name: {"type": "integer"} for name in COUNTED},
                        "cost": {"type": "string", "pattern": r"^-?\d+\.\d{6}$"},
                        "currency": _TEXT,
                        **dict.fromkeys(TIMES, _SPREAD),
                    }
                ),
            },
            "next": {**_or_null(_TEXT), "description": "What `page` must be to see more; null where this is all."},
        }
    ),
}

_ERROR: Json = _object(
    {
        "error": _object(
            {"code": _or_null(_TEXT), "param": _or_null(_TEXT), "message": _TEXT, "type": _TEXT},
        ),
        "request_id": _TEXT,
    },
    {"id": _TEXT},
)
_QUERY: dict[str, Json] = {
    "after": {"description": "Show what is behind this id.", "schema": _ID},
    "workspace": {"description": "Show what is of this workspace.", "schema": _ID},
    "before": {
        "description": "Show what is older than this act.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**9 - 1},
    },
    "from": {"description": f"The first day, in UTC; {DAYS} days are shown where nothing is said.", "schema": _DAY},
    "to": {"description": "The last day; today where nothing is said.", "schema": _DAY},
    "by": {
        "description": "What a row is about; several with commas between, each once.",
        "schema": {"type": "string", "pattern": f"^({'|'.join(SIDES)})(,({'|'.join(SIDES)}))*$", "default": "day"},
    },
    "key": {"description": "Show what is of this key.", "schema": _ID},
    "usage limit": {
        "description": f"At most so many rows; {ROWS} where nothing is said.",
        "schema": {"type": "integer", "minimum": 1, "maximum": ROWS_MAX},
    },
    "page": {"description": "What `next` of the page before said, to the same question.", "schema": _TEXT},
    "limit": {
        "description": f"At most so many; {PAGE} where nothing is said.",
        "schema": {"type": "integer", "minimum": 1, "maximum": PAGE_MAX},
    },
}


def document(version: str) -> Json:
    """The OpenAPI document of this version of Segue."""
    paths: dict[str, Json] = {}
    for each in OPERATIONS:
        paths.setdefault(BASE + each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Segue administration",
            "version": version,
            "description": "Workspaces, the models they may use, keys, use, the audit log. For keys of the role admin.",
        },
        "paths": paths,
        "security": [{"key": []}],
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {**SHAPES, "Error": _ERROR},
        },
    }


def _operation(each: Operation) -> Json:
    lines: Json = {"text/csv": {"schema": _TEXT}} if each.lines else {}
    told: Json = {
        "operationId": each.id,
        "summary": each.summary,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _parts(each.path)),
            *({"name": name, "in": "query", **_QUERY.get(f"{each.id} {name}", _QUERY[name])} for name in each.query),
        ],
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": _ref(each.answers)}, **lines}},
            **{
                str(status): {"description": _WHY[status], "content": {"application/json": {"schema": _ref("Error")}}}
                for status in sorted({*ALWAYS_REFUSED, *each.refusals})
            },
        },
    }
    if each.takes is not None:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(each.takes)}}}
    return told


_WHY = {
    400: "Something in the request cannot be; the message says what.",
    401: "No key, or one that opens nothing.",
    403: "The key's role does not cover it.",
    404: "There is no such thing.",
    409: "It is there already, or was.",
    500: "A mistake of ours; the log has it.",
}


def _parts(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)
