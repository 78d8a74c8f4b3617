"""What may be said of an e-mail subscription: addresses that stay addresses, templates that cannot run away."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from messagebroker.errors import Refused
from messagebroker.ops import clock
from messagebroker.ops.channels import CHANNELS, email_templates
from messagebroker.ops.channels.email_config import EmailConfig
from messagebroker.ops.channels.email_templates import render

pytestmark = pytest.mark.clocked


def read(**given: Any) -> EmailConfig:
    return msgspec.convert({"to": ["ada@example.org"], **given}, EmailConfig)


@pytest.mark.parametrize(
    "address",
    [
        "ada",
        "",
        "ada@example.org\n",
        "a@b.c\r\nBcc: e@b.c",
        "a b@c.d",
        '"a"@b.c',
        "a,b@c.d",
        "<a@b.c>",
        "a@b.c, e@b.c",
        "a@exämple.org",
        "a@b.c\x00",
        "a" * 65 + "@b.c",
        "a@.b",
        "a@[127.0.0.1]",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(to=[address])


def test_how_many_addresses() -> None:
    assert len(read(to=[f"p{n}@example.org" for n in range(50)]).to) == 50
    for wrong in ([], [f"p{n}@example.org" for n in range(51)], ["ada@example.org", "ADA@example.org"]):
        with pytest.raises(msgspec.ValidationError):
            read(to=wrong)


@pytest.mark.parametrize(("name", "line"), [("subject", 1), ("text", 2), ("html", 3)])
def test_a_wrong_template_is_named_with_its_line(name: str, line: int) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"{name}: .*line {line}"):
        read(**{name: "\n" * (line - 1) + "{{ body"})


@pytest.mark.parametrize(("minutes", "due"), [(15, "10:15"), (60, "11:00"), (7, "10:07"), (1440, "00:00")])
def test_digests_are_due_at_the_end_of_their_span(minutes: int, due: str) -> None:
    first_due = CHANNELS["email"].first_due
    for second in (0, 1, 299):
        moment = clock.micros(datetime(2026, 3, 1, 10, 0, tzinfo=UTC)) + second * 1_000_000
        if minutes == 7:  # no part of an hour: spans are counted from 1970
            found = first_due(read(digest_minutes=7), moment)
            assert found is not None
            assert 0 < found - moment <= 7 * 60_000_000
            continue
        found = first_due(read(digest_minutes=minutes), moment)
        assert found is not None
        assert clock.from_micros(found).strftime("%H:%M") == due
    assert first_due(read(), moment) is None


VALUES: dict[str, Any] = {
    "body": "<b>x</b>",
    "metadata": {"items": "I", "deep": {"er": 1}},
    "messages": [{"topic": f"t{n}", "metadata": {str(m): m for m in range(1000)}} for n in range(50)],
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ metadata.items }}{{ metadata['deep'].er }}{{ metadata.absent.too }}", "I1"),
        ("{% for m in messages %}{% if loop.first %}{{ m.topic }}{% endif %}{% endfor %}", "t0"),
        ("{% for m in messages %}{% if loop.last %}{{ loop.index }}{% endif %}{% endfor %}", "50"),
        ("{% for name, value in metadata|items %}{{ name }},{% endfor %}", "items,deep,"),
        ("{{ body|upper }}{{ nothing|default('none') }}{{ messages|length }}{{ body|items }}", "<B>X</B>none50[]"),
        ("{{ metadata|json }}", '{"items": "I", "deep": {"er": 1}}'),
        ("{% raw %}{{ x }}{% endraw %}{# a remark #}", "{{ x }}"),
    ],
)
def test_what_templates_can_do(source: str, text: str) -> None:
    assert render(source, VALUES) == text


def test_html_is_escaped_whatever_the_template_does() -> None:
    for source in ("{{ body }}", "{{ body|upper }}", "{{ metadata.bad|json }}", "{{ body|truncate(5, true, '<i>') }}"):
        found = render(source, {**VALUES, "metadata": {"bad": "<script>"}}, html=True)
        assert "<" not in found


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ body.__class__ }}",
        "{{ body.upper }}",
        "{{ messages.append }}",
        "{{ loop }}",
        "{{ metadata['__class__'] }}",
        "{% for m in messages %}{{ loop.__init__ }}{{ loop.cycle }}{{ loop._iterable }}{% endfor %}",
    ],
)
def test_pythons_objects_are_out_of_reach(source: str) -> None:
    assert render(source, VALUES) == ""


@pytest.mark.parametrize(
    "source",
    [
        "{{ range(9) }}",
        "{{ body.upper() }}",
        "{{ 9**9**9 }}",
        "{{ 'a' * 9 }}",
        "{{ body + body }}",
        "{{ body ~ body }}",
        "{% set x = 1 %}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% import 'x' as x %}",
        "{% macro a() %}{% endmacro %}",
        "{{ body|safe }}",
        "{{ body|attr('x') }}",
        "{{ body|replace('a', body) }}",
        "{{ body|center(99999999) }}",
        "{{ [body, body] }}",
        "{{ {'a': body} }}",
        "{{ body[0:1] }}",
        "{{ deadline_ }}",
        "{{ self }}",
        "{% autoescape false %}{{ body }}{% endautoescape %}",
        "{{ body is mapping }}",
        "{% for a in messages recursive %}{% endfor %}",
        "{% filter upper %}{% endfilter %}",
        "{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}",
        "{% for a in messages %}" * 25 + "{% endfor %}" * 25,
        "{% if a %}" * 40 + "{% endif %}" * 40,
        "{{ 1" + "1" * 5000 + " }}",
        "x" * 50_001,
    ],
)
def test_what_templates_cannot_do(source: str) -> None:
    for html in (False, True):
        with pytest.raises(Refused):
            email_templates.check(source, html=html)


def test_loops_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_templates, "SECONDS", 0.1)
    inner = "{% for c in messages %}{% for d in c.metadata %}{% endfor %}{% endfor %}"
    source = f"{{% for a in messages %}}{{% for b in a.metadata %}}{inner}{{% endfor %}}{{% endfor %}}"
    began = time.monotonic()
    with pytest.raises(Refused, match="took longer"):
        render(source, VALUES)
    assert time.monotonic() - began < 2


def test_filters_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes milliseconds of a long text and leaves one character: many fit into a template."""
    monkeypatch.setattr(email_templates, "SECONDS", 0.1)
    source = "{{ body|title|first }}" * 2000
    began = time.monotonic()
    with pytest.raises(Refused, match="took longer"):
        render(source, {"body": "many words " * 20_000})
    assert time.monotonic() - began < 2


def test_escapes_of_escapes_end() -> None:
    """Each `json` around another doubles its backslashes."""
    with pytest.raises(Refused, match="more than"):
        render("{{ body" + "|json" * 25 + " }}", {"body": '"' * 100})


def test_output_ends() -> None:
    assert len(render("{% for a in messages %}{{ a }}{% endfor %}", VALUES, most=1000)) == 1000


@pytest.mark.parametrize(
    "source", ["{{ body|truncate(1) }}", "{{ 1 < body }}", "{{ body|truncate('x') }}", "{{ body|trim(3) }}"]
)
def test_values_of_the_wrong_kind_are_told(source: str) -> None:
    with pytest.raises(Refused, match="cannot be rendered"):
        render(source, VALUES)
