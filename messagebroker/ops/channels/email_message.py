"""Composing an e-mail: one message, or several as a digest, in text and HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from messagebroker.ops import clock, ids, smtp
from messagebroker.ops.channels import email_templates
from messagebroker.ops.channels.channel import Target, Work
from messagebroker.ops.channels.email_config import EmailConfig
from messagebroker.ops.channels.email_ids import OTHERS, Named, Signer, packed
from messagebroker.settings import Settings

LONGEST_BODY = 256 * 1024
"""Characters of bodies in one e-mail; those of a digest share them. What is cut off says so."""
LONGEST_SUBJECT = 200

SUBJECT = "{{ topic }} ({{ subscription }})"
TEXT = """\
{{ body }}

--
Topic: {{ topic }}
From: {{ client }}, {{ created_at }}
{% if sender %}Sender: {{ sender }}
{% endif %}Message: {{ message_id }}
"""
HTML = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ topic }}</title></head>
<body style="font-family: sans-serif; color: #1b1f24; max-width: 44rem">
<pre style="white-space: pre-wrap; font-size: 1rem">{{ body }}</pre>
<hr style="border: 0; border-top: 1px solid #d0d7de">
<p style="color: #57606a; font-size: .85rem">{{ topic }}, from {{ client }}, {{ created_at }}\
{% if sender %}, sender {{ sender }}{% endif %}<br>{{ message_id }}</p>
</body></html>
"""
DIGEST_SUBJECT = "{{ count }} {% if count == 1 %}message{% else %}messages{% endif %} ({{ subscription }})"
DIGEST_TEXT = """\
{% for message in messages %}{{ message.topic }}, from {{ message.client }}, {{ message.created_at }}
{{ message.message_id }}

{{ message.body }}
{% if not loop.last %}
----------------------------------------------------------------
{% endif %}{% endfor %}"""
DIGEST_HTML = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ subscription }}</title></head>
<body style="font-family: sans-serif; color: #1b1f24; max-width: 44rem">
{% for message in messages %}<h2 style="font-size: 1rem; margin: 1.5rem 0 .25rem">{{ message.topic }}</h2>
<p style="color: #57606a; font-size: .85rem; margin: 0">from {{ message.client }}, {{ message.created_at }}<br>\
{{ message.message_id }}</p>
<pre style="white-space: pre-wrap; font-size: 1rem">{{ message.body }}</pre>
{% endfor %}</body></html>
"""


class Composer:
    """Makes e-mails for one installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sender = smtp.sender(settings)
        self._domain = self._sender.rpartition("@")[2]

    def compose(self, works: Sequence[Work]) -> EmailMessage:
        """One e-mail with all of `works`, which have the same target.

        Raises:
            Refused: a template cannot be rendered with these messages.
            ConfigurationError: the master keys cannot be read.
        """
        target = works[0].target
        config: EmailConfig = target.config
        values = _values(works, target)
        message = EmailMessage(policy=_POLICY)
        self._put_headers(message, works, config.to)
        subject, text, html = _sources(config)
        message["Subject"] = _one_line(email_templates.render(subject, values, most=4 * LONGEST_SUBJECT))
        message.set_content(_readable(email_templates.render(text, values)))
        if html:
            message.add_alternative(_readable(email_templates.render(html, values, html=True)), subtype="html")
        return message

    def _put_headers(self, message: EmailMessage, works: Sequence[Work], to: Sequence[str]) -> None:
        target = works[0].target
        named = Named(tuple(work.message_id for work in works), target.id)
        message["From"] = smtp.header_address(self._sender, "Message Broker")
        message["To"] = [smtp.header_address(address) for address in to]
        message["Date"] = format_datetime(clock.now())
        # keys are read each time: one that was retired meanwhile may be removed before a worker starts again
        message["Message-ID"] = Signer(self._settings).message_id(named, self._domain)
        message["Auto-Submitted"] = "auto-generated"  # so that nobody's absence notice answers
        message["Precedence"] = "bulk"
        message["List-Id"] = f"<subscription-{target.id}.{self._domain}>"
        if len(works) > 1:
            message[OTHERS] = packed(named.message_ids)


_POLICY = SMTP.clone(cte_type="7bit", max_line_length=78)  # nothing depends on what servers on the way can do
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _sources(config: EmailConfig) -> tuple[str, str, str]:
    """Subject, text, and HTML, which may be empty."""
    subject, text, html = (DIGEST_SUBJECT, DIGEST_TEXT, DIGEST_HTML) if config.digest_minutes else (SUBJECT, TEXT, HTML)
    if config.html is not None:
        html = config.html
    elif config.text is not None:
        html = ""
    return config.subject if config.subject is not None else subject, config.text if config.text is not None else text, html


def _values(works: Sequence[Work], target: Target) -> dict[str, Any]:
    """What templates may use: `messages`, and the first one's members by their own names."""
    share = LONGEST_BODY // len(works)
    messages = [_members(work, share) for work in works]
    return {**messages[0], "messages": messages, "count": len(messages), "subscription": target.name}


def _members(work: Work, share: int) -> dict[str, Any]:
    return {
        "message_id": ids.text(work.message_id),
        "topic": work.topic,
        "client": work.client,
        "priority": work.priority,
        "created_at": work.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "correlation_id": work.correlation_id or "",
        "body": _body(work, share),
        "sender": work.payload.sender or "",
        "metadata": work.payload.metadata or {},
        "content_type": work.payload.content_type or "",
    }


def _body(work: Work, share: int) -> str:
    body = work.payload.body
    if not isinstance(body, str):
        kind = work.payload.content_type or "no type"
        return f"[{len(body)} bytes that are no text ({kind}); the portal has them]"
    return body if len(body) <= share else f"{body[:share]}\n[cut off here: {len(body)} characters; the portal has them all]"


def _one_line(text: str) -> str:
    """A subject: whatever a message holds, it ends no header."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line[:LONGEST_SUBJECT] or "(no subject)"


def _readable(text: str) -> str:
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
