"""Who calls main, and what they may: a person by token, a component or a client by certificate. The rest is refused."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

import falcon

from messagebroker.db.models import User
from messagebroker.http.access import METRICS_PATHS
from messagebroker.http.problems import Problem
from messagebroker.ops.audit import Actor
from messagebroker.ops.identity import Peer
from messagebroker.ops.permissions import Permission, allows
from messagebroker.ops.tokens import Holder, Tokens

COMPONENTS = frozenset({"proxy", "portal"})
"""Components that main listens to."""

_FOR_PEOPLE = frozenset({"portal"})
"""Components that speak for people: a token beside their certificate is the person's, and they say where they sit."""


FOR_CLIENTS = "/api/v1/pull/"
"""Where clients are listened to. Elsewhere they learn that proxies are for them, and of no path whether it is there."""


@dataclass(frozen=True, kw_only=True)
class Right:
    """Who may use one method of a resource."""

    permission: Permission | None = None  # a person with it
    own: Permission | None = None  # or with this one, for what is theirs: the resource looks at whose it is
    signed_in: bool = False  # any person, even before they have changed a one-time password
    component: str | None = None  # a component of this name, by its certificate alone
    client: bool = False  # any client, by its certificate, for what is its own: the resource looks at whose it is
    itself: bool = False  # any component that comes in, by its certificate, about itself: the resource looks at the peer
    anonymous: bool = False  # anybody


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Exactly one of `person`, `component` and `client`, or none (anonymous)."""

    person: User | None = None
    component: str | None = None
    client: str | None = None
    address: str | None = None
    user_agent: str | None = None
    session: bytes | None = None  # a person's

    def may(self, permission: Permission) -> bool:
        """Whether this person has it; a component has none."""
        return self.person is not None and allows(self.person.role, permission)

    @property
    def actor(self) -> Actor:
        """As the audit log names them."""
        named = {"component": self.component, "client": self.client, "user": self.person and self.person.email}
        name = next((f"{kind}:{name}" for kind, name in named.items() if name), "anonymous")
        return Actor(name=name, address=self.address, user_agent=self.user_agent)


class Callers:
    """Falcon middleware behind `Access`: sets `req.context.caller`, and holds every resource to its `rights`.

    Args:
        tokens: checks people's tokens.
        open_paths: as given to `Access`; nobody is asked there.
        anonymous_paths: where a caller may be nobody, such as the login.
    """

    def __init__(self, tokens: Tokens, *, open_paths: frozenset[str], anonymous_paths: frozenset[str]) -> None:
        self._tokens = tokens
        self._open = open_paths | METRICS_PATHS  # Access has dealt with these
        self._anonymous = anonymous_paths

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Finds out who calls, before routing: nobody learns from a 404 which paths there are."""
        if request.path in self._open:
            request.context.caller = Caller()
            return
        caller = self._caller(request)
        is_nobody = caller.person is None and caller.component is None and caller.client is None
        if is_nobody and request.path not in self._anonymous:
            raise _unauthorized("token-required", "send `Authorization: Bearer` with a token from POST /api/v1/auth/login")
        request.context.caller = caller

    def _caller(self, request: falcon.Request) -> Caller:
        peer = request.context.peer
        authorization = request.env.get("HTTP_AUTHORIZATION")
        address, user_agent = address_of(request), request.env.get("HTTP_USER_AGENT")
        if peer is not None and peer.kind == "client":
            if authorization is None and request.path.startswith(FOR_CLIENTS):
                return Caller(client=peer.name, address=address, user_agent=user_agent)
            name = "clients-use-the-proxy" if authorization is None else "certificate-and-token"
            raise _forbidden(name, "a client's certificate has no rights here, and none beside a token; clients use the proxy")
        if authorization is None:
            speaks_itself = peer is not None and peer.name not in _FOR_PEOPLE
            return Caller(component=peer.name if speaks_itself else None, address=address, user_agent=user_agent)
        if peer is not None and peer.name not in _FOR_PEOPLE:
            raise _forbidden("certificate-and-token", f"component:{peer.name} does not speak for people")
        holder = self._holder(authorization)
        return Caller(person=holder.user, session=holder.session, address=address, user_agent=user_agent)

    def _holder(self, authorization: str) -> Holder:
        scheme, _, token = authorization.partition(" ")
        holder = self._tokens.holder(token.strip()) if scheme.lower() == "bearer" else None
        if holder is None:
            raise _unauthorized("token-invalid", "this token is not valid, or not any more; refresh it, or log in again")
        return holder

    def process_resource(self, request: falcon.Request, response: falcon.Response, resource: Any, params: Any) -> None:
        """Grants what the resource's `rights` say for the method, and nothing else."""
        has_method = hasattr(resource, f"on_{request.method.lower()}")
        if request.path in self._open or not has_method:  # without the method it is a 405
            return
        right: Right | None = getattr(resource, "rights", {}).get(request.method)
        if right is not None and right.itself:
            _hold_to_certificate(request.context.peer, request.context.caller)
        else:
            _hold_to(right or Right(), request.context.caller)


def _hold_to_certificate(peer: Peer | None, caller: Caller) -> None:
    """People have no business here, also not through the portal."""
    if peer is None or peer.kind != "component" or caller.person is not None:
        raise _forbidden("forbidden", "this is for components, with their certificate and without a token")


def _hold_to(right: Right, caller: Caller) -> None:
    if right.anonymous or (caller.component is not None and caller.component == right.component):
        return
    if right.client and caller.client is not None:
        return
    person = caller.person
    if person is None:
        raise _forbidden("forbidden", "this is not for components" if caller.client is None else "this is not for clients")
    if right.signed_in:
        return
    if person.must_change_password:
        raise _forbidden("password-change-required", "change the one-time password first: POST /api/v1/auth/password")
    if not any(allows(person.role, permission) for permission in (right.permission, right.own) if permission is not None):
        raise _forbidden("forbidden", f"the role {person.role} may not do this", permission=right.permission)


def address_of(request: falcon.Request) -> str | None:
    """Where the request comes from. The portal alone is believed when it says for whom it asks."""
    own: str | None = request.env.get("REMOTE_ADDR")
    peer = request.context.peer
    told = request.env.get("HTTP_X_FORWARDED_FOR")
    if told is None or peer is None or peer.kind != "component" or peer.name not in _FOR_PEOPLE:
        return own
    try:
        return str(ipaddress.ip_address(told.rpartition(",")[2].strip()))
    except ValueError:
        return own


def _unauthorized(name: str, detail: str) -> Problem:
    return Problem(401, name, detail, headers={"WWW-Authenticate": 'Bearer realm="messagebroker"'})


def _forbidden(name: str, detail: str, **extra: Any) -> Problem:
    return Problem(403, name, detail, **{key: value for key, value in extra.items() if value is not None})
