"""Objects of one person's, for schemathesis to ask for: their names are those of the documents' parameters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from support.cast import Shelf
from support.subscribing import subscribe

from messagebroker.db.models import Client, DeadLetterMove, InboxItem, Topic, User
from messagebroker.ops import announcements, certificates, clock, group_members, groups, ids, sessions, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings

TEST = Actor(name="cli:test")


def objects_of(person: User, settings: Settings) -> dict[str, Any]:
    """By the keys that `schemathesis_hooks` looks for. What a method takes away is another one than what is read."""
    client = f"{person.role.replace('_', '-')}-sender"
    group = _group(f"{client} team", person)
    certificates.issue(settings, client)
    Client.update(owner=person.email, group=group).where(Client.name == client).execute()
    someone = f"{client}@example.org"
    users.create(someone, "user", actor=TEST)
    shelf = Shelf(settings)
    tomorrow = clock.now() + timedelta(days=1)
    subscription = _webhook(person)
    message = shelf.put(client_id=client)
    topics = [_topic(f"{client}.{word}") for word in ("stays", "goes")]
    [issued] = [one for one in CaFolder(settings).issued() if one.name == client]
    return {
        "user_id": users.find(someone).id,
        "session_id": _session(users.find(someone), settings),
        "auth.session_id": _session(person, settings),
        "group_id": group,
        "DELETE group_id": _group(f"{client} team that goes", person),
        "name": client,
        "client": client,
        "serial": issued.serial,
        "message_id": message,
        "POST messages.message_id": shelf.put(client_id=client, status="scheduled", due_at=tomorrow),
        "ingest-failures.message_id": shelf.set_aside(client_id=client),
        "POST ingest-failures.message_id": shelf.set_aside(client_id=client),
        "number": _announcement(),
        "DELETE number": _announcement(),
        "subscription_id": subscription,
        "DELETE subscription_id": _webhook(person),
        "item": _item(person, message, subscription),
        "dead-letters.number": _move(),
        "topics.name": topics[0],
        "DELETE topics.name": topics[1],
    }


SEEN = {
    "user": ("groups/{group_id}", "groups/{group_id}/members", "messages/{message_id}", "messages/{message_id}/body",
             "messages/counts", "messages/{message_id}/timeline", "clients/{name}", "certificates/{serial}",
             "subscriptions/{subscription_id}", "webhooks/{subscription_id}", "webhooks/{subscription_id}/logs",
             "inbox/{item}"),
    "user_manager": ("users/{user_id}", "users/{user_id}/sessions"),
    "operator": ("ingest-failures/{message_id}", "announcements/{number}", "dead-letters/moves/{number}", "queue/{queue}/peek"),
    "admin": ("users/{user_id}", "users/{user_id}/sessions", "ingest-failures/{message_id}", "announcements/{number}",
              "dead-letters/moves/{number}", "queue/{queue}/peek", "topics/{name:path}"),
    "nobody": (),
}  # fmt: skip
"""What of these each role reads; everybody who is somebody reads what a user does."""


def seen_by(role: str) -> set[str]:
    """The templates of single objects that must have been answered with 200."""
    found = SEEN[role] if role == "nobody" else (*SEEN["user"], *SEEN[role])
    return {f"/api/v1/{path}" for path in found}


def _group(name: str, person: User) -> int:
    group = groups.create(name, actor=TEST).id
    group_members.add_member(group, person.email, actor=TEST)
    return group


def _session(person: User, settings: Settings) -> str:
    return ids.text(sessions.begin(Tokens.load(settings), person).session)


def _announcement() -> str:
    now = clock.now()
    return str(announcements.create("soon", "info", now, now + timedelta(days=1), actor=TEST).id)


def _webhook(person: User) -> int:
    """Of nobody's messages, to where no worker may connect."""
    return subscribe(["nobody.sends.this"], config={"url": "https://127.0.0.1:9/hooks"}, owner=person.email)


def _topic(name: str) -> str:
    return str(Topic.create(name=name, created_at=clock.now()).name)


def _item(person: User, message_id: str, subscription: int) -> str:
    row = {"user": person, "message": ids.parse(message_id), "subscription_id": subscription, "created_at": clock.now()}
    return str(InboxItem.create(**row).id)


def _move() -> str:
    now = clock.now()
    row = {"kind": "retry", "selection": "{}", "reason": "", "created_by": "x", "created_at": now, "total": 1, "state": "final"}
    return str(DeadLetterMove.create(**row).id)
