"""Regular expressions in schemas: of the kind that takes linear time, and small. Others are refused before proxies see them."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from messagebroker.errors import Refused

if TYPE_CHECKING:
    from jsonschema_rs import RegexOptions

_SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
"""Bytes that a pattern may have once it is compiled. The largest takes up to 1.3 s for a text of 256 KiB, if that is made to
keep it busy; an ordinary one a millisecond."""

_WORK_PER_BYTE = 1 / 500  # of a compiled pattern, in the unit of `schema_work`
_AUTOMATON_BYTES = 1_000_000


@cache
def library() -> Any:
    """jsonschema-rs: 3 MB, for those who have schemas."""
    import jsonschema_rs

    return jsonschema_rs


def options(size: int = _SIZES[-1]) -> RegexOptions:
    """For validators: Rust's `regex`, which never goes back over what it has read, in place of an engine that does."""
    found: RegexOptions = library().RegexOptions(size_limit=size, dfa_size_limit=_AUTOMATON_BYTES)
    return found


@lru_cache(maxsize=1024)
def work(pattern: str) -> int:
    """What matching it may cost, in the unit of `schema_work`.

    Raises:
        Refused: it is no pattern, goes back over what it has read, or is too large.
    """
    for size in _SIZES:
        try:
            library().validator_for({"pattern": pattern}, pattern_options=options(size), offline=True)
        except ValueError:  # a validation error is one, too
            continue
        return int(size * _WORK_PER_BYTE)
    raise Refused(
        f"the pattern {pattern[:80]!r} cannot be used: it is malformed, looks around, refers back, or is too large;"
        " for lengths use maxLength, not a count such as .{1,1000}"
    )
