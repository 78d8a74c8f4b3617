from __future__ import annotations

from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from support.cast import Cast

from messagebroker.db.models import STATUSES
from messagebroker.http.main.app import ANONYMOUS_PATHS, OPEN_PATHS


def test_the_document_is_valid_and_says_what_needs_no_token(cast: Cast) -> None:
    document = cast.get("/openapi.json").json
    OPENAPI_31_VALIDATOR.validate(document)
    public = {path for path, methods in document["paths"].items() for m in methods.values() if not m["security"]}
    assert public == (OPEN_PATHS - {"/openapi.json", "/docs"}) | {"/metrics", "/api/v1/metrics"} | ANONYMOUS_PATHS


def test_the_statuses_that_can_be_asked_for_are_those_of_the_table(cast: Cast) -> None:
    [status] = [
        parameter["schema"]["enum"]
        for parameter in cast.get("/openapi.json").json["paths"]["/api/v1/messages"]["get"]["parameters"]
        if parameter["name"] == "status"
    ]
    assert set(status) == set(STATUSES)
