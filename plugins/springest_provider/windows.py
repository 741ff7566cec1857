"""What a run's context says about time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context

from springest.errors import ConfigurationError
from springest.source.reader import Window


def begin_moment(value: str | None, *, asked: Window | None) -> datetime | None:
    """
    Return from when on a site's trainings are to be sent, for the run that begins it.

    :param value: given by a person; blank is not given.
    :param asked: the window that was asked for, if any.
    :raises ConfigurationError: it is no moment with a time zone, or a window is given as well.
    """
    if not _given(value):
        return None
    if asked is not None:
        raise ConfigurationError(
            "begin_from and a window don't go together: a run with a window is a pilot or a backfill, and "
            "does not begin the site"
        )
    return _moment("begin_from", str(value))


def is_persons(context: Context) -> bool:
    """Tell whether a person triggered the run, rather than a schedule."""
    return _kind(context["dag_run"]) == "manual"


def asked_window(context: Context, *, start: str | None, end: str | None) -> Window | None:
    """
    Return the window that was asked for; ``None`` reads on from the watermark.

    :param start: given by a person; blank is not given.
    :raises ConfigurationError: only one end is given, or it is no moment with a time zone.
    """
    if _given(start) or _given(end):
        if not (_given(start) and _given(end)):
            raise ConfigurationError("window_start and window_end must be given together, or neither")
        return Window(_moment("window_start", str(start)), _moment("window_end", str(end)))
    run: Any = context["dag_run"]
    if _kind(run) != "backfill":
        return None
    if run.data_interval_start is None or run.data_interval_end is None:
        raise ConfigurationError("a backfill needs a timetable with data intervals")
    return Window(run.data_interval_start, run.data_interval_end)


def counted_since(context: Context) -> datetime | None:
    """
    Return from when on outcomes that can't be known count against what a night may have.

    :returns: of a person's run: its own start, since the person has seen the ones before; else ``None``, the
        last hours of all runs.
    """
    run: Any = context["dag_run"]
    started: datetime | None = run.start_date
    return started if is_persons(context) else None


def whole_number(name: str, value: str | int | None, *, least: int = 0) -> int | None:
    """
    Return a number of certificates that a person gave; ``None`` when none is given.

    :param name: the parameter's.
    :raises ConfigurationError: it is no number, or less than ``least``.
    """
    if not _given(str(value)):
        return None
    text = str(value).strip()
    if not (text.isascii() and text.isdecimal() and int(text) >= least):
        raise ConfigurationError(f"{name} must be a whole number of at least {least}, is {text!r}")
    return int(text)


def seconds_until(time_of_day: str, *, since: datetime | None, now: datetime | None = None) -> float:
    """
    Return the seconds until a run's deadline.

    :param time_of_day: ``HH:MM`` in UTC; the deadline is when it first came after the run began.
    :param since: when the run began, so that a later try of its task has the same deadline; now by default.
    :returns: 0 when it is over.
    :raises ConfigurationError: it is no time of day.
    """
    now = now or datetime.now(UTC)
    began = min(since.astimezone(UTC), now) if since is not None else now
    try:
        told = datetime.strptime(time_of_day.strip(), "%H:%M")  # noqa: DTZ007 - a time of day has no zone
    except ValueError:
        raise ConfigurationError(f"deliver_until must be a time such as 06:00, is {time_of_day!r}") from None
    due = began.replace(hour=told.hour, minute=told.minute, second=0, microsecond=0)
    return max(0.0, ((due if due > began else due + timedelta(days=1)) - now).total_seconds())


def _kind(run: Any) -> str:
    """Return a run's type as a word, whether Airflow gives it as one or as an enumeration."""
    return str(getattr(run.run_type, "value", run.run_type))


def _given(value: str | None) -> bool:
    return value is not None and value.strip() not in {"", "None"}


def _moment(name: str, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigurationError(
            f"{name} must be a moment with a time zone such as 2026-11-02T00:00:00+00:00"
        )
    return moment
