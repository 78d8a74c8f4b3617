"""Deliveries by e-mail: composed from templates, handed to the organisation's SMTP server.

A delivery is `delivered` when the server has taken the e-mail for every recipient. Bounces come later: `ops/bounces.py`.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from messagebroker.errors import BrokerError, Refused
from messagebroker.ops.channels.channel import ANSWER_BYTES, Kind, Outcome, Work
from messagebroker.ops.channels.email_config import EmailConfig
from messagebroker.ops.channels.email_message import Composer
from messagebroker.ops.channels.email_post import Answer, NotNow, Post
from messagebroker.settings import Settings

CONNECTIONS = 4
"""To the server at the same time, of one process; each has a thread."""
CALL_SECONDS = 60.0
"""For all e-mails of one call."""
PATIENT_ATTEMPTS = 4
"""Tries in which one recipient who is refused for now holds back the e-mail of all, so that nobody gets it twice.

After these, half an hour by the usual schedule, greylisting is long over: the others get theirs, and he is recorded as refused.
"""


class Email:
    """All subscriptions share the connections, since all e-mails go to the same server."""

    name = "email"
    config = EmailConfig
    secrets = None
    at_once = 2
    merges = 50

    def __init__(self, settings: Settings) -> None:
        self._composer = Composer(settings)
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="email")
        self._free: queue.LifoQueue[Post] = queue.LifoQueue()  # the one used last is most likely still connected
        self._posts = [Post(settings) for _ in range(CONNECTIONS)]
        for post in self._posts:
            self._free.put(post)

    async def deliver(self, works: Sequence[Work]) -> Sequence[Outcome]:
        """One e-mail each, or one for all where the subscription is a digest."""
        together = bool(works[0].target.config.digest_minutes)
        mails = [list(works)] if together else [[work] for work in works]
        call = _Call()
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._deliver_all, mails, call)
        try:
            outcomes = await asyncio.wait_for(asyncio.shield(running), CALL_SECONDS)
        except TimeoutError:
            call.stop()
            outcomes = await running
        except asyncio.CancelledError:
            call.stop()
            raise
        return outcomes

    def _deliver_all(self, mails: list[list[Work]], call: _Call) -> list[Outcome]:
        """In a thread. Once the server cannot be used, the rest is not tried."""
        outcomes: list[Outcome] = []
        trouble: Outcome | None = None
        with self._a_post() as post:
            call.abort = post.abort
            for works in mails:
                if trouble is None and call.is_stopped:
                    trouble = Outcome(kind="retry", error=f"the mail server is too slow: {CALL_SECONDS:g} s were not enough")
                outcome = trouble or self._deliver_one(post, works)
                if outcome.kind == "retry" and outcome.code in (None, 421):
                    trouble = outcome
                outcomes += [replace(outcome, together=len(works) > 1)] * len(works)
            call.abort = None
        return outcomes

    @contextmanager
    def _a_post(self) -> Iterator[Post]:
        post = self._free.get()  # there are as many as threads
        try:
            yield post
        finally:
            self._free.put(post)

    def _deliver_one(self, post: Post, works: list[Work]) -> Outcome:
        to = works[0].target.config.to
        patient = max(work.attempt for work in works) < PATIENT_ATTEMPTS
        try:
            message = self._composer.compose(works)
        except Refused as error:
            return Outcome(kind="failed", error=str(error))
        except BrokerError as error:
            return Outcome(kind="retry", error=str(error))
        request = {
            name: str(message[name]) for name in ("Message-ID", "To")
        }  # a subject may say what is sealed, and this is not
        try:
            answer = post.send(message, to, wait_for_all=patient)
        except NotNow as error:
            return Outcome(kind="retry", error=str(error), request=request)
        return _outcome(answer, len(to), request)

    async def close(self) -> None:
        """Ends the connections."""
        for post in self._posts:
            post.abort()
        await asyncio.to_thread(self._threads.shutdown)
        for post in self._posts:
            post.close()


class _Call:
    """One call of `deliver`, which its thread and the event loop both see."""

    def __init__(self) -> None:
        self.abort: Callable[[], None] | None = None
        self.is_stopped = False

    def stop(self) -> None:
        """No further e-mail is begun, and the one in hand is broken off."""
        self.is_stopped = True
        if self.abort is not None:
            self.abort()


def _outcome(answer: Answer, recipients: int, request: dict[str, str]) -> Outcome:
    """What the server's answer means for the delivery. 4xx may pass, 5xx will not."""
    log = "\n".join(f"{address}: {code} {said}" for address, (code, said) in answer.refused.items()).encode()[:ANSWER_BYTES]
    answered = log or f"{answer.code} {answer.said}".encode()[:ANSWER_BYTES]
    got_it = answer.code == 250 and len(answer.refused) < recipients
    if got_it and not answer.refused:
        return Outcome(kind="delivered", code=answer.code, request=request, answer=answered)
    if not answer.refused:
        kind: Kind = "retry" if answer.code < 500 else "failed"
        error = f"the mail server answered {answer.code}: {answer.said}"
        return Outcome(kind=kind, code=answer.code, error=error, request=request, answer=answered)
    address, (code, said) = next(iter(answer.refused.items()))
    rest = "the others have it" if got_it else "nobody has it"
    who = address if len(answer.refused) == 1 else f"{len(answer.refused)} recipients, such as {address},"
    error = f"the mail server refuses {who}: {code} {said}"
    if recipients > 1:
        error = f"of {recipients} recipients {error}; {rest}"
    will_pass = not got_it and any(number < 500 for number, _ in answer.refused.values())
    kind = "retry" if will_pass else "failed"
    return Outcome(kind=kind, code=code, error=error[:500], reached=got_it, request=request, answer=answered)
