"""Two people who change the same thing: the later one is told instead of overwriting what they never saw (RFC 9110)."""

from __future__ import annotations

import hashlib

import falcon
import msgspec

from messagebroker.http.problems import Problem

DESCRIBED = {"ETag": "Of what this answer shows; send it as If-Match with a change."}
"""For `Operation.response_headers`."""


def etag_of(view: msgspec.Struct) -> str:
    """A strong tag: of the very bytes that the view is sent as."""
    return f'"{hashlib.sha256(msgspec.json.encode(view)).hexdigest()[:32]}"'


def set_etag(response: falcon.Response, view: msgspec.Struct) -> None:
    """Sends the view's tag with it."""
    response.set_header("ETag", etag_of(view))


def require_match(request: falcon.Request, view: msgspec.Struct) -> None:
    """Lets a change go on when the caller has seen `view`, what is there now; also when they send no If-Match.

    Call it inside the transaction that changes, with the row locked: what is compared must be what is changed.

    Raises:
        Problem: 412 `changed-meanwhile`.
    """
    given = request.get_header("If-Match")
    if given is None or given.strip() == "*":
        return
    if etag_of(view) not in (tag.strip() for tag in given.split(",")):
        detail = "somebody changed this after you read it; read it again and decide anew"
        raise Problem(412, "changed-meanwhile", detail, field="If-Match")
