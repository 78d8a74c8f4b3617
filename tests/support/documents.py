"""The commands that the documents print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```console([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?:\.venv/bin/)?(messagebroker [a-z][^`\n]*)`")


@dataclass(frozen=True)
class Command:
    """One line after a `$ ` of a console block, or a `messagebroker …` inside a sentence."""

    document: str
    text: str
    in_block: bool = False  # printed to be pasted, so it must be complete
    mark: str = ""  # what follows `console` on the block's first line: `on-up` is run against a real `up`

    def __str__(self) -> str:
        return f"{self.document}: {self.text}"


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> Iterator[Command]:
    for path in documents():
        text = path.read_text(encoding="utf-8")
        for _, mark, body in _BLOCK.findall(text):
            for line in body.splitlines():
                if line.strip().startswith("$ "):
                    yield Command(path.name, line.strip()[2:].split("  #")[0].strip(), True, mark.strip())
        for found in _INLINE.findall(_BLOCK.sub("", text)):
            yield Command(path.name, found.split(" (")[0])
