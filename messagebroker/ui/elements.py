"""The few HTML elements that pages are built from. Text stays text: nothing here takes HTML."""

from __future__ import annotations

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement


class Tag(Element):
    """An element with children. `Tag("form", "card", method="post")`; `_` in names stands for `-`."""

    def __init__(self, tag: str, classes: str = "", **attributes: str | int | bool) -> None:
        super().__init__(tag)
        _dress(self, classes, attributes)


class Text(TextElement):
    """An element that holds text."""

    def __init__(self, tag: str, text: str, classes: str = "", **attributes: str | int | bool) -> None:
        super().__init__(tag=tag, text=text)
        _dress(self, classes, attributes)


def link(text: str, target: str, classes: str = "", **attributes: str | int | bool) -> Text:
    """A link to a page of the portal."""
    return Text("a", text, classes, href=target, **attributes)


def field(label: str, name: str, kind: str, **attributes: str | int | bool) -> None:
    """A labelled input of a form."""
    with Tag("label", "field"):
        Text("span", label)
        Tag("input", "", name=name, type=kind, required=True, **attributes)


def submit(label: str) -> Text:
    """The button that sends a form."""
    return Text("button", label, "button primary", type="submit")


def notice(text: str, kind: str = "info") -> None:
    """A line that people should read: `info`, `good` or `bad` (read out at once by screen readers)."""
    Text("p", text, f"notice {kind}", role="alert" if kind == "bad" else "status")


def _dress(element: Element, classes: str, attributes: dict[str, str | int | bool]) -> None:
    element.classes(classes)
    for name, value in attributes.items():
        element.props[name.strip("_").replace("_", "-")] = value
