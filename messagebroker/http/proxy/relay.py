"""Main's answers in the proxy's name, given when they come: no request that submits waits behind one that reads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import falcon
import httpx
import structlog

from messagebroker.http.later import Reply
from messagebroker.http.problems import DAMAGED, PREFIX, Problem
from messagebroker.http.proxy.reads import Reads

_OWN_MISTAKES = ("invalid-parameter", "filter-not-indexed")
"""Problems of main's with what the client asked for."""

log = structlog.get_logger(__name__)


def relay(reads: Reads, request: falcon.Request, ask: Callable[[], httpx.Response], *, cost: int = 1) -> NoReturn:
    """Answers with what `ask` gets from main, later.

    Raises:
        Deferred, Problem: see `Reads.answer`.
    """
    reads.answer(request, lambda: _reply(ask()), cost=cost)


def _reply(answer: httpx.Response) -> Reply:
    if answer.status_code != 200:
        raise _passed_on(answer)
    return falcon.HTTP_200, [("Content-Type", "application/json"), ("Cache-Control", "no-store")], answer.content


def _passed_on(answer: httpx.Response) -> Problem:
    """Main's problem in the proxy's name. What is between main and the proxy is none of the client's business."""
    retry_after = answer.headers.get("Retry-After")
    headers = {"Retry-After": retry_after} if retry_after else None
    if answer.status_code == 400:
        with suppress(ValueError, KeyError, TypeError):
            document = answer.json()
            name = str(document["type"]).removeprefix(PREFIX)
            if name in _OWN_MISTAKES:
                return Problem(400, name, str(document["detail"]), field=document.get("field"))
    if answer.status_code in (404, 410):
        try:
            document = answer.json()
            name = str(document["type"]).removeprefix(PREFIX)
            return Problem(answer.status_code, name, str(document["detail"]), headers=headers)
        except (ValueError, KeyError, TypeError):
            return Problem(404, "not-found", "there is no such message", headers=headers)
    if answer.status_code == 500 and PREFIX + DAMAGED in answer.text:  # "try again" would never help
        log.error("main cannot open a message", answer=answer.text[:300])
        detail = "this message is stored, but cannot be opened any more; tell the operator of this system"
        return Problem(500, DAMAGED, detail)
    log.warning("main refused a lookup", status=answer.status_code, answer=answer.text[:300])
    detail = "stored messages cannot be read at this moment; submitting goes on"
    return Problem(503, "main-unavailable", detail, headers=headers or {"Retry-After": "2"})
