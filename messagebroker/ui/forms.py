"""Reads what an HTML form sent, within limits."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

LIMIT = 8192  # bytes
SECONDS = 10.0  # for all of it


async def read_form(request: Request) -> dict[str, str]:
    """The fields of an urlencoded form; the last value of each.

    Raises:
        HTTPException: 413 when it is too long, 408 when it comes too slowly, 400 when it is something else.
    """
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise HTTPException(400, "This address takes the portal's own forms only.")
    body = b""
    try:
        async with asyncio.timeout(SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > LIMIT:
                    raise HTTPException(413, "The form is too long.")
    except TimeoutError:
        raise HTTPException(408, "The form took too long to arrive.") from None
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20))
    except ValueError as error:
        raise HTTPException(400, "The form cannot be read.") from error
