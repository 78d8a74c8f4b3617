"""HTML as text, for tables: one element with a thousand tags costs the server a hundredth of a thousand elements.

Everything that is not made by `tag` is escaped; the browser's sanitizer looks at the result once more.
"""

from __future__ import annotations

from html import escape

from nicegui import ui
from nicegui.elements.html import Html


class Markup(str):
    """HTML that `tag` made."""

    __slots__ = ()


def tag(name: str, *content: str, **attributes: str) -> Markup:
    """One element. `_` in the names of attributes stands for `-`, and one at the end for nothing (`class_`)."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items() if value)
    inner = "".join(part if isinstance(part, Markup) else escape(part) for part in content)
    return Markup(f"<{name}{given}>{inner}</{name}>")


def table(caption: str, columns: dict[str, str], rows: list[list[str]], kind: str) -> Markup:
    """A table; `columns` are names and classes, cells are text or markup. On phones every row becomes a card."""
    head = [tag("th", name, class_=classes, scope="col") for name, classes in columns.items()]
    body = [
        tag("tr", *(tag("td", cell, class_=columns[name], data_label=name) for name, cell in zip(columns, row, strict=True)))
        for row in rows
    ]
    return tag(
        "table",
        tag("caption", caption, class_="unseen"),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        class_=kind,
    )


def show(markup: Markup, classes: str) -> Html:
    """Puts markup on the page."""
    return ui.html(markup, sanitize=True).classes(classes)
