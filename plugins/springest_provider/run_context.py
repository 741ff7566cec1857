"""What a run and its worker decide: window, deadline, start for counting unknown outcomes, lost stops."""

from __future__ import annotations

import json
import logging
import os
import socket
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow.sdk import Context

from springest.delivery.run import DeliverySettings
from springest.errors import ConfigurationError
from springest.source.window import Window

log = logging.getLogger(__name__)

STOP_LOST: Final = (
    "a stop of this worker doesn't reach the task, which is killed later and may leave ten outcomes unknown: "
    "start the worker with DUMB_INIT_SETSID=1; see 'Stopping a worker' in docs/deployment.md"
)


def worker_name() -> str:
    """Return a unique name for this worker."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def warn_if_stop_is_lost() -> None:
    """
    Warn if SIGTERM reaches the worker's main process only.

    ``dumb-init``, which starts everything in Airflow's image, reads this variable; Airflow's Helm chart sets
    it to 0 for Celery workers.
    """
    if os.environ.get("DUMB_INIT_SETSID") == "0":
        log.warning("%s", STOP_LOST)


def begin_moment(value: str | None, *, asked: Window | None) -> datetime | None:
    """
    Return the time from which a site's trainings are sent, if the run begins the site.

    :param value: the parameter ``begin_from``; blank means not set.
    :param asked: the requested window, if any.
    :raises ConfigurationError: it is not a time with a time zone, or a window is set as well.
    """
    if not _given(value):
        return None
    if asked is not None:
        raise ConfigurationError(
            "set begin_from or a window, not both: a run with a window is a pilot or a backfill, and does "
            "not begin the site"
        )
    return _moment("begin_from", str(value))


def is_manual(context: Context) -> bool:
    """Return whether a person triggered the run, rather than a schedule."""
    return _kind(context["dag_run"]) == "manual"


def is_scheduled(context: Context) -> bool:
    """Return whether a schedule made the run, rather than a person, a backfill or an asset."""
    return _kind(context["dag_run"]) == "scheduled"


def requested_window(context: Context, *, start: str | None, end: str | None) -> Window | None:
    """
    Return the requested window, or ``None`` to continue from the watermark.

    :param start: the parameter ``window_start``; blank means not set.
    :raises ConfigurationError: only one end is set, or it is not a time with a time zone.
    """
    if _given(start) or _given(end):
        if not (_given(start) and _given(end)):
            raise ConfigurationError("set both window_start and window_end, or neither")
        return Window(_moment("window_start", str(start)), _moment("window_end", str(end)))
    run: Any = context["dag_run"]
    if _kind(run) != "backfill":
        return None
    if run.data_interval_start is None or run.data_interval_end is None:
        raise ConfigurationError("a backfill needs a timetable with data intervals")
    return Window(run.data_interval_start, run.data_interval_end)


def unknown_since(context: Context) -> datetime | None:
    """
    Return the time from which unknown outcomes count towards the limit.

    :returns: for a run that a person triggered, its start, since the person has seen earlier ones; otherwise
        ``None``, for the last hours of all runs.
    """
    run: Any = context["dag_run"]
    started: datetime | None = run.start_date
    return started if is_manual(context) else None


def whole_number(name: str, value: str | int | None, *, least: int = 0) -> int | None:
    """
    Parse a number of certificates; ``None`` if it is not set.

    :param name: the parameter's name.
    :raises ConfigurationError: it is not a number, or less than ``least``.
    """
    if not _given(str(value)):
        return None
    text = str(value).strip()
    if not (text.isascii() and text.isdecimal() and int(text) >= least):
        raise ConfigurationError(f"{name} must be a whole number of at least {least}, is {text!r}")
    return int(text)


def whole_numbers(name: str, value: str | Sequence[int | str] | None) -> list[int] | None:
    """
    Parse whole numbers given by a person, such as ids of certifications; ``None`` if there are none.

    :param name: the parameter's name.
    :param value: a list, or the JSON text of one.
    :raises ConfigurationError: it is not a list of whole numbers.
    """
    if value is None or (isinstance(value, str) and not _given(value)):
        return None
    try:
        items = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        items = None
    if not isinstance(items, list | tuple):
        raise ConfigurationError(f"{name} must be a list of whole numbers such as [101, 102], is {value!r}")
    numbers = [whole_number(name, str(item), least=1) for item in items if str(item).strip()]
    return [number for number in numbers if number is not None] or None


def yes_or_no(name: str, value: str | bool | None) -> bool:
    """
    Parse a tick box; ``None`` means no.

    :param name: the parameter's name.
    :raises ConfigurationError: it is neither true nor false, so a dry run can't become a real one.
    """
    word = str(value).strip().lower()
    if value is None or word == "false":
        return False
    if word == "true":
        return True
    raise ConfigurationError(f"{name} must be true or false, is {value!r}")


def deliver_settings(
    context: Context,
    *,
    deliver_until: str,
    expected_certificates: str | int | None,
    limit: str | int | None,
    time_zone: str = "UTC",
    **others: Any,
) -> DeliverySettings:
    """
    Return a run's delivery settings from its parameters.

    :param others: settings that are not parameters of a run.
    :raises ConfigurationError: a parameter is invalid.
    """
    began = context["dag_run"].start_date
    until = partial(seconds_to_deliver_until, deliver_until, since=began, time_zone=time_zone)
    return DeliverySettings(
        expected=whole_number("expected_certificates", expected_certificates) or 0,
        limit=whole_number("limit", limit, least=1),
        seconds_to_deliver_until=until(),
        night_seconds=until(now=began),
        **others,
    )


def seconds_to_deliver_until(
    deliver_until: str, *, since: datetime | None, time_zone: str = "UTC", now: datetime | None = None
) -> float:
    """
    Return the seconds until a run's deadline.

    :param deliver_until: ``HH:MM``; the deadline is its first occurrence after the run started.
    :param since: start of the run, so that retries of its task have the same deadline; now by default.
    :param time_zone: its time zone, such as ``Europe/London``. A time that the clocks skip counts as
        later by as much; of a time that they repeat, the first counts.
    :returns: 0 if the deadline has passed.
    :raises ConfigurationError: it is not a time of day, or there is no such time zone.
    """
    now = now or datetime.now(UTC)
    began = min(since.astimezone(UTC), now) if since is not None else now
    try:
        clock_time = datetime.strptime(deliver_until.strip(), "%H:%M")  # noqa: DTZ007 - a time of day has no zone
    except ValueError:
        raise ConfigurationError(
            f"deliver_until must be a time such as 06:00, is {deliver_until!r}"
        ) from None
    local = began.astimezone(_zone(time_zone)).replace(
        hour=clock_time.hour, minute=clock_time.minute, second=0, microsecond=0, fold=0
    )
    # Python compares two times of one zone by wall clock, which goes back once a year.
    due = local.astimezone(UTC)
    if due <= began:
        due = (local + timedelta(days=1)).astimezone(UTC)
    return max(0.0, (due - now).total_seconds())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ConfigurationError(
            f"time_zone must be a time zone such as Europe/London, is {name!r}"
        ) from None


def _kind(run: Any) -> str:
    """Return a run's type as a string, whether Airflow has it as a string or an enumeration."""
    return str(getattr(run.run_type, "value", run.run_type))


def _given(value: str | None) -> bool:
    return value is not None and value.strip() not in {"", "None"}


def _moment(name: str, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigurationError(f"{name} must be a time with a time zone, such as 2026-11-02T00:00:00+00:00")
    return moment
