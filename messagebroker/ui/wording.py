"""How the portal says things: times, ages, sizes, and what went wrong."""

from __future__ import annotations

from datetime import UTC, datetime

from messagebroker.client import ClientError, Problem, Unreachable

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def moment(value: datetime | None) -> str:
    """A time in UTC, to the second."""
    return "–" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def exact(value: datetime) -> str:
    """A time in UTC, to the millisecond."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03d} UTC"


def age(seconds: float | None) -> str:
    """How long something has waited, in its largest unit."""
    if seconds is None:
        return "–"
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int | None) -> str:
    """A number of bytes."""
    if count is None:
        return "–"
    return f"{count:,} B" if count < 10_240 else f"{count / 1024:,.0f} KiB"


def explanation(error: ClientError) -> tuple[str, str]:
    """What went wrong, as a heading and a sentence that says what to do."""
    if isinstance(error, Unreachable):
        return "The server does not answer", "Nothing is lost. Try again in a moment; if it stays, tell your operator."
    if not isinstance(error, Problem):
        return "The portal is not set up right", "Tell your operator; the portal's log says what is missing."
    match error.status:
        case 403:
            return "Not for your role", "Your role does not include this. An administrator can change that."
        case 404:
            return "Not found", "It does not exist, has been removed after its retention, or is not yours to see."
        case 429:
            return "Too many requests", f"Wait {age(error.retry_after or 60)}, then try again."
        case status if status >= 500:
            return "The server cannot do this now", "Nothing is lost. Try again in a moment; if it stays, tell your operator."
    return "That did not work", error.detail


def login_problem(error: ClientError) -> str:
    """Why a login failed. Never says whether the address exists."""
    if isinstance(error, Problem) and error.name == "second-factor-required":
        return "Type your password again, and the code that your authenticator shows."
    if isinstance(error, Problem) and error.name == "wrong-code":
        return "This code is wrong, or was used already. Wait for the next one."
    if isinstance(error, Problem) and error.status in (400, 401, 403, 422):
        return "That e-mail address and password do not belong together. Check both and try again."
    heading, text = explanation(error)
    return f"{heading}. {text}"
