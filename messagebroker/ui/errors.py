"""The pages for addresses that do not exist and for mistakes of the portal itself. They never show a traceback."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from nicegui import Client, ui
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from messagebroker.ui.elements import Text, link
from messagebroker.ui.frame import plain_frame
from messagebroker.ui.gate import ASSETS
from messagebroker.ui.login import HOME
from messagebroker.ui.portal import Portal

log = logging.getLogger("messagebroker.ui")


def add_error_pages(nicegui_app: FastAPI, portal: Portal) -> None:
    """Replaces NiceGUI's own error pages."""

    async def not_found(request: Request, error: Exception) -> Response:
        if request.url.path.startswith(ASSETS):
            return PlainTextResponse("Not found", 404)
        return _page(portal, request, 404, "Not found", "There is no page at this address.")

    async def mistake(request: Request, error: Exception) -> Response:
        log.error("page failed: %s", request.url.path, exc_info=error)
        text = "This page could not be made. The portal's log says why; nothing was changed."
        return _page(portal, request, 500, "A mistake of the portal", text)

    nicegui_app.add_exception_handler(404, not_found)
    nicegui_app.add_exception_handler(Exception, mistake)


def _page(portal: Portal, request: Request, status: int, title: str, text: str) -> Response:
    with Client(ui.page(""), request=request) as page, plain_frame(portal, title):
        Text("p", text)
        link("To the messages", HOME, "button")
    return page.build_response(request, status)
