"""One connection to Redis on which it is always known whether a write was sent.

redis-py's pipelines cannot tell a write that never left from one whose answer was lost; for a sender that is the
difference between "send it again" and "it may be there already".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = Sequence[Any]
_TROUBLE = (RedisConnectionError, RedisTimeoutError, OSError)
_IDLE_SECONDS = 5.0  # after which a connection has to prove that it is one
_PROOF_SECONDS = 0.3


class NotSent(Exception):
    """Redis cannot have seen the whole of what was to be sent, so it has done nothing of it."""


class AnswerLost(Exception):
    """Everything was sent; whether Redis did it is not known."""


class Wire:
    """Used by one thread at a time.

    Args:
        client: whose settings the connection takes over.
        on_connect: called after every new connection, before it is used; it loads the scripts.
    """

    def __init__(self, client: redis.Redis, on_connect: Callable[[], None]) -> None:
        self._pool = client.connection_pool
        self._on_connect = on_connect
        self._connection: Any = None
        self._used_at = 0.0

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, in order; an error answer is a value among them.

        Raises:
            NotSent: no connection, or it ended before the last byte left.
            AnswerLost: it ended, or the time was up, before the last answer came.
        """
        packed = None
        for is_last in (False, True):  # a connection that Redis closed while it was idle costs one more try, unseen
            connection = self._ready()
            if packed is None:
                packed = connection.pack_commands(commands)
            try:
                connection.send_packed_command(packed, check_health=False)
                break
            except _TROUBLE as error:
                self.close()
                if is_last or isinstance(error, RedisTimeoutError):
                    raise NotSent from error
        try:
            return [self._answer(connection) for _ in commands]
        except _TROUBLE as error:
            self.close()
            raise AnswerLost from error
        except BaseException:
            self.close()  # answers that nobody read must not meet the next question
            raise
        finally:
            self._used_at = time.monotonic()

    def close(self) -> None:
        """Ends the connection; the next question makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    @staticmethod
    def _answer(connection: Any) -> Any:
        try:
            return connection.read_response()
        except ResponseError as error:
            return error

    def _ready(self) -> Any:
        if self._connection is not None and not self._is_alive(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._connected()
        return self._connection

    def _is_alive(self, connection: Any) -> bool:
        try:
            if connection.can_read(0):  # nobody asked anything: an end of the stream, or something worse
                return False
            if time.monotonic() - self._used_at < _IDLE_SECONDS:
                return True
            connection.send_command("PING", check_health=False)
            return bool(connection.read_response(timeout=_PROOF_SECONDS) == b"PONG")
        except (RedisError, OSError):
            return False

    def _connected(self) -> Any:
        # the pool would count it, and after a hundred that came to their end make no more
        connection: Any = self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            connection.connect()
            self._on_connect()
        except (RedisError, OSError) as error:
            connection.disconnect()
            raise NotSent from error
        return connection
