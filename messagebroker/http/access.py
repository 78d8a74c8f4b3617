"""Who may speak to a server at all: turns the TLS peer into `req.context.peer`, or refuses. Deny by default."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Protocol

import falcon

from messagebroker.http.problems import Problem
from messagebroker.ops import clock
from messagebroker.ops.identity import Peer
from messagebroker.ops.metrics import AUTH_REFUSED

METRICS_PATHS = frozenset({"/metrics", "/api/v1/metrics"})
"""Open to loopback, and to `component:monitoring` from anywhere."""

_REFUSALS = {
    "revoked": ("certificate-revoked", "this certificate was revoked; ask the operator for a new one"),
    "expired": ("certificate-expired", "this certificate has expired; ask the operator to renew it"),
    "unknown-client": ("client-unknown", "no client of this certificate's name is registered here"),
    "disabled": ("client-disabled", "this client was disabled by an operator"),
}
_STALE = "certificates cannot be checked against the current policy at this moment; try again shortly"


class Watcher(Protocol):
    """What is asked of `ops.policy.PolicyWatcher`."""

    def is_fresh(self, seconds: float = ...) -> bool:
        """Whether the policy was compared with Redis within so many seconds."""

    def refusal(self, peer: Peer) -> str | None:
        """Why this peer may not speak now, None when it may."""


class Access:
    """Falcon middleware. `req.context.peer` is None exactly where no certificate is needed or none was shown.

    Args:
        watcher: tells who is revoked, expired, unknown or disabled; None checks the expiry alone (tests).
        open_paths: answered for everybody, whatever certificate is shown or not.
        components: names of components that may come in; `monitoring` reaches /metrics without being listed.
        certificate_required: False lets requests without one pass, with peer None, for a later check of their token.
        while_stale: judges instead of the watcher while that one cannot reach Redis; None: 503.
    """

    def __init__(
        self,
        *,
        watcher: Watcher | None,
        open_paths: frozenset[str],
        components: frozenset[str] = frozenset(),
        certificate_required: bool = True,
        while_stale: Callable[[Peer], str | None] | None = None,
    ) -> None:
        self._watcher = watcher
        self._open = open_paths
        self._components = components
        self._required = certificate_required
        self._while_stale = while_stale

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Runs before routing, so that strangers cannot even learn which paths exist."""
        environ = request.env
        peer: Peer | None = environ.get("messagebroker.peer")
        request.context.peer = None
        if request.path in self._open or (request.path in METRICS_PATHS and is_loopback(environ)):
            return
        if peer is not None:
            self.judge(environ, peer)
            self._check_business(environ, peer, request.path)
            self._check_claim(environ, peer)
            request.context.peer = peer
        elif environ.get("messagebroker.peer_problem"):
            raise refuse(environ, "certificate-invalid", str(environ["messagebroker.peer_problem"]))
        elif self._required or request.path in METRICS_PATHS:
            raise Problem(401, "certificate-required", "present a client certificate of this organisation's CA")

    def judge(self, environ: dict[str, Any], peer: Peer) -> None:
        """Raises the Problem with a peer that may not speak now. What waits is judged once more before it is answered."""
        reason = self._reason(peer)
        if reason is not None:
            name, detail = _REFUSALS.get(reason, ("certificate-refused", reason))
            raise refuse(environ, name, detail)

    def _reason(self, peer: Peer) -> str | None:
        if self._watcher is None:
            return "expired" if peer.not_after <= clock.now() else None
        if self._watcher.is_fresh():
            return self._watcher.refusal(peer)
        if self._while_stale is not None:
            return self._while_stale(peer)
        AUTH_REFUSED.labels("policy-stale").inc()  # a 503 for everybody, though each is refused for a certificate
        raise Problem(503, "policy-stale", _STALE, headers={"Retry-After": "1"})

    def _check_business(self, environ: dict[str, Any], peer: Peer, path: str) -> None:
        is_monitoring = peer.kind == "component" and peer.name == "monitoring"
        if path in METRICS_PATHS and not is_monitoring:
            raise Problem(403, "metrics-for-monitoring", "metrics are for component:monitoring, and for this machine itself")
        if peer.kind == "client" or peer.name in self._components or (is_monitoring and path in METRICS_PATHS):
            return
        raise Problem(403, "component-not-allowed", f"component:{peer.name} has no business with this path")

    def _check_claim(self, environ: dict[str, Any], peer: Peer) -> None:
        claimed = environ.get("HTTP_X_CLIENT_ID")
        if claimed is not None and claimed != peer.name:
            raise Problem(403, "client-mismatch", "X-Client-Id names another client than the certificate", field="X-Client-Id")


def refuse(environ: dict[str, Any], name: str, detail: str) -> Problem:
    """A 403 after which the connection closes; to be raised."""
    close = environ.get("messagebroker.close")
    if close is not None:
        close()
    return Problem(403, name, detail)


def is_loopback(environ: dict[str, Any]) -> bool:
    """Whether the TCP peer is this machine; forwarded headers are not looked at."""
    try:
        return ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
