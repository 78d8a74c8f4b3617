"""Stands for other programs: answers by the beginning of the command, and remembers what was called."""

from __future__ import annotations

from collections.abc import Sequence

from messagebroker.errors import Refused
from messagebroker.ops.services.programs import Answer


class ScriptedRun:
    """`ScriptedRun({"docker compose ps": "abc\\n"})`; the longest beginning wins, and what is not named answers nothing."""

    def __init__(self, answers: dict[str, str | Answer] | None = None) -> None:
        self.answers = answers or {}
        self.called: list[str] = []

    def __call__(self, command: Sequence[str], *, seconds: float = 60.0, check: bool = True) -> Answer:
        line = " ".join(command)
        self.called.append(line)
        found = max((key for key in self.answers if line.startswith(key)), key=len, default=None)
        answer = self.answers[found] if found is not None else ""
        answer = Answer(0, answer, "") if isinstance(answer, str) else answer
        if check and answer.code:
            raise Refused(answer.words)
        return answer
