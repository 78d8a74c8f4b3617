"""The portal's ASGI application: the pages, and the layers that every request passes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from messagebroker.client import AsyncApiClient, Retry, SetupError
from messagebroker.errors import ConfigurationError
from messagebroker.settings import Settings
from messagebroker.ui.errors import add_error_pages
from messagebroker.ui.forgotten import Forgotten
from messagebroker.ui.gate import Gate
from messagebroker.ui.headers import SecurityHeaders
from messagebroker.ui.health import Health
from messagebroker.ui.inbox import Inbox
from messagebroker.ui.inbox_item import InboxItem
from messagebroker.ui.layers import CompressedAssets, Measured
from messagebroker.ui.login import HOME, Login
from messagebroker.ui.message import MessagePage
from messagebroker.ui.messages import Messages
from messagebroker.ui.metrics import Metrics
from messagebroker.ui.password import Password
from messagebroker.ui.portal import Portal
from messagebroker.ui.queues import Queues
from messagebroker.ui.sessions import Sessions
from messagebroker.ui.sockets import guard

STATIC = Path(__file__).parent / "static"
API_SECONDS = 8.0
API_RETRY = Retry(attempts=2, first_pause=0.1, give_up_after=4.0)  # a person is waiting


def make_portal(settings: Settings) -> Portal:
    """The parts of a portal process.

    Raises:
        ConfigurationError: the component's certificate, its key or the CA cannot be used.
    """
    certs = settings.path(settings.certs_dir)
    try:
        api = AsyncApiClient(
            settings.url_of("main"),
            cert=certs / "portal.crt",
            key=certs / "portal.key",
            ca=certs / "ca.crt",
            timeout=API_SECONDS,
            retry=API_RETRY,
        )
    except SetupError as error:
        raise ConfigurationError(str(error)) from error
    return Portal(settings, api, Sessions(settings.portal_idle_seconds), Metrics())


def make(portal: Portal) -> ASGIApp:
    """The application. Once a process: NiceGUI keeps its pages in a table of the process."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=STATIC))
    _add_routes(app, portal)
    add_error_pages(nicegui_app, portal)
    ui.add_head_html(f'<link rel="stylesheet" href="/static/portal.css?{_version(STATIC / "portal.css")}">', shared=True)
    ui.run_with(
        app,
        title="Message Broker",
        favicon=STATIC / "favicon.svg",
        dark=None,  # as the person's system has it
        language="en-US",
        tailwind=False,  # 260 kB that would run in the browser; portal.css is all that is needed
        binding_refresh_interval=None,
        message_history_length=100,
        gzip_middleware_factory=None,  # pages hold secrets beside what the address says; only assets are compressed
        storage_secret=None,  # no browser or user storage: nothing about people in files or cookies
        show_welcome_message=False,
    )
    guard()
    return SecurityHeaders(
        Measured(Gate(CompressedAssets(app), portal.sessions, portal.settings.url_of("portal")), portal.metrics)
    )


def _add_routes(app: FastAPI, portal: Portal) -> None:
    health, login, password, forgotten = Health(portal), Login(portal), Password(portal), Forgotten(portal)
    for prefix in ("", "/api/v1"):
        app.add_route(f"{prefix}/health", health.alive, methods=["GET"])
        app.add_route(f"{prefix}/health/ready", health.ready, methods=["GET"])
        if portal.settings.metrics_enabled:
            app.add_route(f"{prefix}/metrics", health.metrics, methods=["GET"])
    app.add_route("/login", login.log_in, methods=["POST"])
    app.add_route("/logout", login.log_out, methods=["POST"])
    app.add_route("/password", password.change, methods=["POST"])
    app.add_route("/forgotten", forgotten.ask, methods=["POST"])
    app.add_route("/reset", forgotten.reset, methods=["POST"])
    app.add_route("/", _home, methods=["GET"])
    for page in (Messages, MessagePage, Inbox, InboxItem, Queues):
        page(portal)


async def _home(request: Request) -> Response:
    return RedirectResponse(HOME, 303)


def _version(path: Path) -> str:
    """Changes with the content, so that browsers may keep the file for long."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
