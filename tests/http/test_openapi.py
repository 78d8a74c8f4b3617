from __future__ import annotations

import json
from typing import Annotated, Any

import jsonschema_rs
import msgspec
import pytest
from falcon import testing

from messagebroker.http.application import make_app
from messagebroker.http.openapi import CERTIFICATE, TOKEN, Operation, document
from messagebroker.settings import Settings


class Order(msgspec.Struct, forbid_unknown_fields=True):
    amount: Annotated[int, msgspec.Meta(ge=1, le=9)]
    note: str | None = None


class Refund(msgspec.Struct):
    order: Order


class Search(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    name: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")] | None = None


class Preference(msgspec.Struct):
    prefer: Annotated[str, msgspec.Meta(pattern="^wait=[0-9]+$")] | None = msgspec.field(name="Prefer", default=None)


OPERATIONS = (
    Operation("POST", "/orders", "Order", Order, {201: Order, 409: None}, headers=Preference, security=CERTIFICATE),
    Operation("GET", "/orders", "List", responses={200: Order}, query=Search, security=TOKEN),
    Operation("GET", "/orders/{id}", "One", responses={200: (Order, Refund), 404: None}, path_types={"id": str}),
    Operation("PUT", "/raw", "Raw", {"application/json": Order, "*/*": bytes}, {204: None}, query=Search),
)


def described() -> dict[str, Any]:
    return json.loads(json.dumps(document("Test", OPERATIONS)))


def test_it_is_valid_openapi(openapi_schema: jsonschema_rs.Validator) -> None:
    openapi_schema.validate(described())


def test_bodies_are_the_types_that_decode() -> None:
    made = described()
    post = made["paths"]["/orders"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
    assert made["components"]["schemas"]["Order"]["additionalProperties"] is False
    assert made["components"]["schemas"]["Order"]["properties"]["amount"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert set(post["responses"]) == {"201", "400", "401", "403", "409", "413", "415", "422", "500", "503"}
    assert post["responses"]["409"]["content"].keys() == {"application/problem+json"}
    assert post["security"] == [{"certificate": []}]


def test_parameters_are_written_out_where_they_are_used() -> None:
    made = described()
    for path, method in (("/orders", "get"), ("/raw", "put")):
        limit, name = made["paths"][path][method]["parameters"]
        assert limit == {
            "name": "limit", "in": "query", "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
        }  # fmt: skip
        assert name["schema"] == {"type": "string", "pattern": "^[a-z]+$"}
    [header] = made["paths"]["/orders"]["post"]["parameters"]
    assert (header["name"], header["in"]) == ("Prefer", "header")
    [path_parameter] = made["paths"]["/orders/{id}"]["get"]["parameters"]
    assert path_parameter == {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def test_other_answers() -> None:
    made = described()
    assert "content" not in made["paths"]["/raw"]["put"]["responses"]["204"]
    one = made["paths"]["/orders/{id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert one == {"anyOf": [{"$ref": "#/components/schemas/Order"}, {"$ref": "#/components/schemas/Refund"}]}
    assert made["paths"]["/raw"]["put"]["requestBody"]["content"]["*/*"] == {"schema": {}}


def test_it_is_served_with_a_page_that_needs_nothing_from_elsewhere(settings: Settings) -> None:
    http = testing.TestClient(make_app("main", settings=settings, middleware=[], resources=[]))
    made = http.simulate_get("/openapi.json")
    assert made.headers["content-type"] == "application/json"
    assert made.json["openapi"] == "3.1.0"
    page = http.simulate_get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    for path in made.json["paths"]:
        assert f"<code>{path}</code>" in page.text


@pytest.fixture(scope="session")
def openapi_schema() -> jsonschema_rs.Validator:
    """The published schema of OpenAPI 3.1 documents, as schemathesis carries it."""
    from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

    validator: jsonschema_rs.Validator = OPENAPI_31_VALIDATOR
    return validator
