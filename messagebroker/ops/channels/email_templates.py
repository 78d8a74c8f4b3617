"""Templates of e-mails: Jinja's variables, `if`, `for` and a few filters, and nothing that takes long, or reaches into Python.

What a template may hold is a list, not what it may not: no calls, no arithmetic, no assignments, no macros, no includes. Every
round of a loop and every filter looks at the clock, and output ends at a length: whatever somebody writes is rendered soon or
refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import ChainableUndefined, Template, TemplateError, nodes, pass_context
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from messagebroker.errors import Refused
from messagebroker.ops.channels.email_config import LONGEST_TEMPLATE

LONGEST_OUTPUT = 1024 * 1024
"""Characters of one rendered template."""
SECONDS = 1.0
"""For rendering one template."""
_DEEPEST = 30  # nodes below each other
_LOOP_NAMES = frozenset({"index", "first", "last", "length"})
_FILTERS = ("default", "d", "e", "escape", "first", "last", "length", "lower", "title", "trim", "truncate", "upper")


def _json(value: Any) -> str:
    """Each time that it is put around itself, escapes double."""
    found = json.dumps(value, ensure_ascii=False, default=str)
    if len(found) > LONGEST_OUTPUT:
        raise Refused(f"the template makes more than {LONGEST_OUTPUT:,} characters")
    return found


_OURS: dict[str, Callable[[Any], Any]] = {
    "items": lambda value: list(value.items()) if isinstance(value, Mapping) else [],
    "json": _json,
}
_TESTS = ("defined", "none", "undefined")
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Filter,
    nodes.Test, nodes.If, nodes.For, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr,
)  # fmt: skip
_NOT_RENDERABLE = (
    TemplateError,
    AssertionError,
    AttributeError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
)
"""What Jinja and its filters raise when they are given the wrong kind of value."""
_NOT_READABLE = (TemplateError, RecursionError, SyntaxError, MemoryError, ValueError, OverflowError)


class _Environment(ImmutableSandboxedEnvironment):
    """Knows data only: members of what is put in, never attributes of Python's objects."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The member, or nothing."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The member, or nothing."""
        if isinstance(obj, LoopContext) and argument in _LOOP_NAMES:
            return getattr(obj, argument)
        if isinstance(obj, Mapping) and isinstance(argument, str) and argument in obj:
            return obj[argument]
        if isinstance(obj, list) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
            return obj[argument]
        return self.undefined(obj=obj, name=argument)


@pass_context
def _timed(context: Context, value: Any) -> Any:
    """The value, in time."""
    if time.monotonic() > context["deadline_"]:
        raise Refused(f"the template took longer than {SECONDS:g} s")
    return value


@pass_context
def _counted(context: Context, found: Any) -> Iterator[Any]:
    for one in found if isinstance(found, Iterable) and not isinstance(found, str) else ():
        yield _timed(context, one)


def _environment(*, html: bool) -> _Environment:
    # what a message does not carry is empty, and so is everything in it
    made = _Environment(autoescape=html, undefined=ChainableUndefined, keep_trailing_newline=True)
    made.globals.clear()
    made.filters = {name: made.filters[name] for name in _FILTERS}
    made.filters |= _OURS | {"counted_": _counted, "timed_": _timed}
    made.tests = {name: made.tests[name] for name in _TESTS} | {
        name: test for name, test in made.tests.items() if name in ("eq", "ne", "lt", "gt", "le", "ge", "in")
    }
    return made


_TEXT, _HTML = _environment(html=False), _environment(html=True)


def check(text: str, *, html: bool = False) -> None:
    """Refused, with the line at fault, unless this is a template that may be used."""
    _compiled(text, html)


def render(text: str, values: Mapping[str, Any], *, html: bool = False, most: int = LONGEST_OUTPUT) -> str:
    """What the template makes of `values`, which consist of dicts, lists and texts; up to `most` characters of it.

    Raises:
        Refused: it is no template that may be used, or it takes too long.
    """
    compiled = _compiled(text, html)
    parts: list[str] = []
    length = 0
    try:
        for part in compiled.generate(values, deadline_=time.monotonic() + SECONDS):
            parts.append(part)
            length += len(part)
            if length > most:
                break
    except _NOT_RENDERABLE as error:
        raise Refused(f"the template cannot be rendered: {_line(error)}") from error
    return "".join(parts)[:most]


@lru_cache(maxsize=512)
def _compiled(text: str, html: bool) -> Template:
    if len(text) > LONGEST_TEMPLATE:
        raise Refused(f"a template has up to {LONGEST_TEMPLATE} characters, not {len(text)}")
    environment = _HTML if html else _TEXT
    try:
        tree = environment.parse(text)
        _hold_to_rules(tree)
        for filtered in list(tree.find_all(nodes.Filter)):
            filtered.node = _through("timed_", filtered.node)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _through("counted_", loop.iter)
        tree.set_environment(environment)
        return environment.from_string(tree)
    except Refused:
        raise
    except _NOT_READABLE as error:
        raise Refused(f"the template cannot be read: {_line(error)}") from error


def _through(name: str, node: Any) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _hold_to_rules(node: nodes.Node, depth: int = 0) -> None:
    place = f"line {node.lineno}"
    if depth > _DEEPEST:
        raise Refused(f"{place}: the template is nested too deeply")
    if not isinstance(node, _ALLOWED) and not (isinstance(node, nodes.Tuple) and node.ctx == "store"):
        raise Refused(f"{place}: {type(node).__name__.lower()} is not part of these templates")
    if isinstance(node, nodes.Filter) and node.name not in (*_FILTERS, *_OURS):
        raise Refused(f"{place}: there is no filter {node.name}; there are {', '.join((*_FILTERS, *_OURS))}")
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        raise Refused(f"{place}: there is no test {node.name}; there are {', '.join(_TESTS)}")
    if isinstance(node, nodes.For) and node.recursive:
        raise Refused(f"{place}: loops are not recursive")
    if isinstance(node, nodes.Name) and (node.name.endswith("_") or node.name == "self"):
        raise Refused(f"{place}: {node.name} is no name in these templates")
    for child in node.iter_child_nodes():
        _hold_to_rules(child, depth + 1)


def _line(error: BaseException) -> str:
    number = getattr(error, "lineno", None)
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return said if number is None else f"line {number}: {said}"
