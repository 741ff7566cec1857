"""The settings of one site in the list of sites; unknown settings and wrong types are refused by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from springest.documents.address import Root
from springest.errors import ConfigurationError

DEFAULT: Final = "default"
"""The site whose DAG ids and asset names have no suffix."""
SOURCE: Final = "training_source"
QUERY: Final = "completed_trainings.sql"
DROP_DEFAULTS: Final = MappingProxyType({"query": "completed_trainings_drop.sql", "look_back_days": 31})


READ_ONCE: Final = "is listed twice: read it once, with a query that joins both by UNION ALL"
_IDENTIFIER: Final = r"^[A-Za-z0-9_.-]{1,200}$"


def _wrong(must: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{must}", {"must": must})


def _cron(value: str) -> str:
    if len(value.split()) != 5 or not croniter.is_valid(value):
        raise _wrong('must be a cron expression of five fields, such as "0 1 * * *"')
    return value


def _zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (ValueError, OSError, LookupError):
        raise _wrong('must be a time zone such as "Europe/London" or "UTC"') from None


def _query(value: str, info: ValidationInfo) -> str:
    path = Path(value)
    if path.is_absolute() or ".." in path.parts or path.suffix != ".sql":
        raise _wrong("must be the name of a .sql file in the folder sql beside the list")
    folder: Path = (info.context or {})["folder"]
    if not (folder / path).is_file():
        raise _wrong(f"there is no such file in {folder}: correct the name")
    return value


def _parameter(value: str) -> str:
    if value in {"window_start", "window_end", "training_ids"}:
        raise _wrong("is a parameter that the project sets: choose another name")
    return value


def _root(value: str) -> str:
    try:
        Root.parse(value)
    except ConfigurationError as error:
        raise _wrong(str(error)) from None
    return value


def is_drop(source: object) -> bool:
    """Return whether a source is a folder, a bucket or a file, and no connection."""
    return isinstance(source, str) and "/" in source


def source_name(source: str) -> str:
    """Return the name of a source, as errors and the ledger have it: without the connection of a bucket."""
    if not is_drop(source):
        return source
    address = Root.parse(source).address
    return str(
        address.path if address.is_local else f"{address.scheme}://{address.without_connection}{address.path}"
    )


def default_query(source: Any) -> str:
    """Return the query of a source, or of the default one, whose settings name none."""
    return str(DROP_DEFAULTS["query"]) if is_drop(source) else QUERY


def listed_twice(names: Sequence[str]) -> str | None:
    """Return a name that several sources of a site have, if any: rows of all but one would not be read."""
    return next((name for name in names if names.count(name) > 1), None)


def _source(value: str) -> str:
    if is_drop(value):
        _root(value)
        if value.lower().startswith(("http:", "https:")):
            raise _wrong("is a link: a drop is a folder or a bucket")
    elif not re.fullmatch(_IDENTIFIER, value):
        raise _wrong("must be the id of a connection, or a folder or bucket of a drop such as /data/drop")
    return value


def _executor(value: str) -> str:
    # Only a list that names an executor needs it.
    from airflow.exceptions import UnknownExecutorException
    from airflow.executors.executor_loader import ExecutorLoader

    try:
        ExecutorLoader.lookup_executor_name_by_str(value, validate_teams=False)
    except UnknownExecutorException:
        raise _wrong("must be an executor that Airflow's setting [core] executor lists") from None
    return value


Cron = Annotated[str, AfterValidator(_cron)]
Hours = Annotated[int, Field(ge=1, le=168)]
Dataset = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,29}$")]
Identifier = Annotated[str, StringConstraints(pattern=_IDENTIFIER)]
Parameter = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,59}$"), AfterValidator(_parameter)
]
RootUri = Annotated[str, AfterValidator(_root)]
Text = Annotated[str, StringConstraints(max_length=100, pattern=r"^\S(.*\S)?$")]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
_EXPECTED: Final = {
    "connection": "must be the id of a connection: letters, digits and _ . -",
    "copy_to": "must be the id of a connection: letters, digits and _ . -",
    "copy_dataset": "must have lower-case letters, digits and underscores, a letter first, 30 at most",
    "source": "must be the id of a connection, or a folder or bucket of a drop, in quotes",
    "sources": "must be tables such as [[default.sources]], each with source and query",
    "look_back_days": "must be a whole number of days, 1 to 366",
    "filter": 'must be parameters of the query, such as { country = "GB" }',
    "document_roots": 'must be a list of folders or buckets, such as ["file:///data/uk"]',
    "deliver_until": 'must be a time of day such as "06:00", in quotes',
    "deadline_hours": "must be whole numbers of hours, 1 to 168, such as deadline_hours.deliver = 6",
    "schedule": 'must be cron expressions in quotes, such as schedule.deliver = "0 1 * * *"',
    "tags": 'must be a list of short texts, such as ["uk"]',
    "owners": 'must be a list of short texts, such as ["uk-team"]',
    "shares_rows": "must be true or false",
}
"""What a setting must be, where pydantic's own words do not name the remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Schedule(_Strict):
    """When each DAG of a site runs, as cron expressions in the site's time zone."""

    catalogue: Cron = "45 0 * * *"
    deliver: Cron = "0 1 * * *"
    reconcile: Cron = "30 6 * * *"
    review: Cron = "0 7 * * *"


class Deadlines(_Strict):
    """Hours after which a run that has not finished is reported."""

    deliver: Hours = 6
    reconcile: Hours = 2


class SourceSettings(_Strict):
    """
    One source of a site, with the meanings and defaults of the site's own settings.

    :param source: as ``SiteSettings.source``, and so ``query`` and ``filter``.
    """

    source: Annotated[str, AfterValidator(_source)]
    query: Annotated[str, AfterValidator(_query)]
    filter: dict[Parameter, str | int] = {}

    @model_validator(mode="before")
    @classmethod
    def _with_query(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "source" not in given:
            return given
        return {"query": default_query(given["source"]), **given}


def _each_once(sources: list[SourceSettings]) -> list[SourceSettings]:
    if name := listed_twice([source_name(item.source) for item in sources]):
        raise _wrong(f"{name} {READ_ONCE}")
    return sources


class SiteSettings(_Strict):
    """
    One site.

    :param name: part of every delivery's key, so it never changes.
    :param connection: its connection of type ``springest``.
    :param source: connection of the source database, or folder or bucket of a drop.
    :param query: the query of completed trainings: a file in the folder ``sql`` beside the list.
    :param filter: further bound parameters of the query: ``{country = "GB"}`` is ``:country`` there.
    :param sources: several sources of this site, instead of ``source``, ``query`` and ``filter``.
    :param shares_rows: the query may return rows of another site; a training belongs to the site that stages
        it first.
    :param look_back_days: how far before the last run's window each run reads again; rows may arrive so much
        later than their ``updated_at``. By default 1, of a drop 31.
    :param document_roots: roots of the documents; by default those in the Variable.
    :param deliver_until: time of day in ``time_zone`` at which a run stops sending.
    :param copy_to: connection of another warehouse, to which the reconciliation is copied.
    :param copy_dataset: schema, database or data set of the copy.
    :param owners: owners of the tasks, as Airflow shows them.
    :param pool: pool of the tasks; it must exist.
    """

    name: Annotated[str, Field(exclude=True)]
    connection: Identifier
    source: Annotated[str, AfterValidator(_source)] = SOURCE
    query: Annotated[str, AfterValidator(_query)] = QUERY
    filter: dict[Parameter, str | int] = {}
    sources: Annotated[list[SourceSettings], Field(min_length=1), AfterValidator(_each_once)] | None = None
    shares_rows: bool = False
    look_back_days: Annotated[int, Field(ge=1, le=366)] = 1
    document_roots: Annotated[list[RootUri], Field(min_length=1)] | None = None
    schedule: Schedule = Schedule()
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    deliver_until: TimeOfDay = "06:00"
    deadline_hours: Deadlines = Deadlines()
    copy_to: Identifier | None = None
    copy_dataset: Dataset = "springest"
    tags: list[Text] = []
    owners: list[Text] = []
    pool: Text | None = None
    queue: Text | None = None
    executor: Annotated[str, AfterValidator(_executor)] | None = None

    @property
    def all_sources(self) -> list[SourceSettings]:
        """Its sources, of which there usually is one."""
        only = SourceSettings.model_construct(source=self.source, query=self.query, filter=self.filter)
        return self.sources or [only]

    @property
    def look_back(self) -> timedelta:
        """How far before the last run's window each run reads again."""
        return timedelta(days=self.look_back_days)

    def named(self, name: str) -> str:
        """Return the id of a DAG or an asset of this site."""
        return suffixed(name, self.name)


def suffixed(name: str, site: str) -> str:
    """Return a name with the suffix of a site; the default site has none."""
    return name if site == DEFAULT else f"{name}_{site}"


def in_words(detail: ErrorDetails) -> str:
    """Return an error with its setting and the remedy; no value is shown."""
    is_source = detail["loc"][0] == "sources" and len(detail["loc"]) > 2
    location = [str(part) for part in detail["loc"][: 3 if is_source else 2]]  # what follows names a type
    setting = location[2 if is_source else 0]
    must = _EXPECTED.get(setting, "must be text in quotes, without blanks around it")
    if detail["type"] == "extra_forbidden":
        must = f"unknown setting: {_known(location)}"
    elif detail["type"] == "missing":
        must = f"is missing: {must}"
    elif detail["type"] == "wrong":
        must = detail["msg"]
    return f"{'.'.join(location)}: {must}"


def _known(location: list[str]) -> str:
    models: dict[str, type[BaseModel]] = {
        "schedule": Schedule,
        "deadline_hours": Deadlines,
        "sources": SourceSettings,
    }
    model = models.get(location[0], SiteSettings)
    known = [name for name in model.model_fields if name != "name"]
    near = difflib.get_close_matches(location[-1], known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
