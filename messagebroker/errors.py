"""The error tree that every layer shares.

An error's message is a sentence for an operator: what is wrong, where, and what to do.
`permanent` says whether trying the same thing again can help.
"""

from __future__ import annotations


class BrokerError(Exception):
    """Something the caller can read and act on; the CLI prints it without a traceback."""

    permanent = True
    told = False  # whether the person in front of this process has read it already


class ConfigurationError(BrokerError):
    """The settings, files or rights of this installation do not allow what was asked."""


class Refused(BrokerError):
    """The request is understood and will not be carried out (rights, state, an existing file)."""


class NotFound(BrokerError):
    """What was named does not exist."""


class Conflict(BrokerError):
    """Somebody or something else holds what was asked for, or got there first."""


class Damaged(BrokerError):
    """What is stored is not what was stored: it was changed, or a key to it is missing."""


class Unavailable(BrokerError):
    """A part this one depends on does not answer now; the same call may succeed later."""

    permanent = False
