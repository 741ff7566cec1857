"""
The list of sites: one file, from which the DAGs, the command line, the page and the doctor know all sites.

Each table of ``include/sites.toml`` is a site. Each is read on its own, so an error in one concerns only that
site. Without the file, or without a table ``[default]``, the default site has the default of each setting.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from airflow.sdk.configuration import conf
from pydantic import ValidationError

from springest.errors import ConfigurationError
from springest_provider.project_files import include_folder
from springest_provider.site_settings import (
    DEFAULT,
    DROP_DEFAULTS,
    SOURCE,
    SiteSettings,
    default_query,
    in_words,
    is_drop,
)

PREFIX: Final = "springest_"
"""Prefix of the id of a site's connection, followed by the site's name, unless the list names another."""
FILE: Final = "sites.toml"
"""The list in the project's ``include``; Airflow's setting ``[springest] sites_file`` can name another."""
VARIABLE: Final = "springest_sites"
"""A Variable that nothing reads; the doctor says so if it exists."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
_TABLE: Final = re.compile(rb"^(?=[ \t]*\[(?![^\]\n]*\.))", re.MULTILINE)
"""Start of a site's table; ``[uk.schedule]`` belongs to the table before it."""
_HEADER: Final = re.compile(rb"[ \t]*\[+[ \t]*[\"']?([^\s\]\"'.]*)")


@dataclass(frozen=True, slots=True)
class SiteList:
    """
    The list as it was read.

    :param sites: the usable sites by name, the default one first.
    :param problems: problem and remedy of each unusable entry, by name.
    """

    path: Path
    sites: dict[str, SiteSettings]
    problems: dict[str, str]

    @property
    def sql_folder(self) -> Path:
        """The folder of the queries, beside the list."""
        return self.path.parent / "sql"

    def find(self, name: str) -> SiteSettings:
        """
        Return a site.

        :raises ConfigurationError: it is not in the list, or its entry is not usable.
        """
        if name in self.sites:
            return self.sites[name]
        if name in self.problems:
            raise ConfigurationError(self.problems[name])
        near = difflib.get_close_matches(name, self.sites, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.sites) or 'none'}"
        raise ConfigurationError(f"there is no site {name!r} in {self.path}: {hint}")

    def name_of(self, conn_id: str) -> str:
        """Return the name of the site that a connection belongs to; one outside the list names it itself."""
        named = (site.name for site in self.sites.values() if site.connection == conn_id)
        return next(named, conn_id.removeprefix(PREFIX))

    def require_usable(self) -> None:
        """
        Refuse a list with an entry that is not usable.

        :raises ConfigurationError: names each of them with the remedy.
        """
        if self.problems:
            raise ConfigurationError("\n".join(self.problems.values()))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A table as it was read, with what is wrong with it so far; its settings are empty then."""

    name: str
    where: str
    settings: dict[str, Any]
    problem: str | None = None

    @property
    def connection(self) -> Any:
        """Its connection to Springest."""
        return self.settings.get("connection", f"{PREFIX}{self.name}")

    @property
    def of_drop(self) -> dict[str, Any]:
        """What a site with a drop has by default."""
        if is_drop(self.settings.get("source")):
            return dict(DROP_DEFAULTS)
        is_one_drop = any(is_drop(item.get("source")) for item in self._listed)
        return {"look_back_days": DROP_DEFAULTS["look_back_days"]} if is_one_drop else {}

    @property
    def reads(self) -> list[tuple[Any, Any, Any]]:
        """Source, query and filter of each of its sources."""
        listed = self._listed or [self.settings]
        return [
            (
                item.get("source", SOURCE),
                item.get("query", default_query(item.get("source"))),
                item.get("filter", {}),
            )
            for item in listed
        ]

    @property
    def _listed(self) -> list[dict[str, Any]]:
        listed = self.settings.get("sources")
        return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def load_sites() -> SiteList:
    """
    Return the list; the file is read again once it has changed.

    :raises ConfigurationError: the file can't be read, or was named and is not there.
    """
    configured = conf.get("springest", "sites_file", fallback="")
    path = Path(configured) if configured else include_folder() / FILE
    try:
        seen = path.stat()
        return _read(path, (seen.st_mtime_ns, seen.st_size, seen.st_ino))
    except FileNotFoundError:
        if not configured:
            return _make_list(path, [])
        raise ConfigurationError(
            f"there is no file {path}, which [springest] sites_file names: correct the setting"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"the list of sites {path} can't be read ({error.strerror}): change its permissions"
        ) from None


def sites() -> list[SiteSettings]:
    """
    Return the usable sites, the default one first.

    :raises ConfigurationError: the file can't be read.
    """
    return list(load_sites().sites.values())


@lru_cache(maxsize=4)
def _read(path: Path, _version: tuple[int, ...]) -> SiteList:
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    return _make_list(path, list(_entries(path, content)))


def _entries(path: Path, content: bytes) -> Iterator[_Entry]:
    line = 1
    for block in _TABLE.split(content):
        where, header = f"{path}, line {line}", _HEADER.match(block)
        name = header[1].decode(errors="replace") if header else where
        try:
            # The line breaks let the parser's message name the line of the file.
            tables = tomllib.loads("\n" * (line - 1) + block.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            yield _Entry(name, f"{where}, [{name}]", {}, f"not valid TOML in UTF-8: {error}")
        else:
            yield from _entries_of(tables, name, where, has_header=header is not None)
        line += block.count(b"\n")


def _entries_of(tables: dict[str, Any], name: str, where: str, *, has_header: bool) -> Iterator[_Entry]:
    if not has_header and tables:
        yield _Entry(name, where, {}, f"{', '.join(tables)}: put settings below their site, such as [uk]")
    for key, settings in tables.items() if has_header else ():
        if isinstance(settings, dict):
            yield _Entry(key, f"{where}, [{key}]", settings)
        else:
            yield _Entry(key, where, {}, f"write [{key}] in single brackets")


def _make_list(path: Path, entries: list[_Entry]) -> SiteList:
    if all(entry.name != DEFAULT for entry in entries):
        entries = [_Entry(DEFAULT, f"{path}, [{DEFAULT}]", {}), *entries]
    made = SiteList(path, {}, {})
    before: list[_Entry] = []
    for entry in sorted(entries, key=lambda entry: entry.name != DEFAULT):
        found = _site(path, entry, before)
        if isinstance(found, SiteSettings):
            made.sites[entry.name] = found
        else:
            name = f"{entry.name}, again" if entry.name in {**made.sites, **made.problems} else entry.name
            made.problems[name] = "\n".join(f"{entry.where}: {problem}" for problem in found)
        before.append(entry)
    return made


def _site(path: Path, entry: _Entry, before: list[_Entry]) -> SiteSettings | list[str]:
    """Return a site, or the problem of its entry."""
    problem = entry.problem or _misnamed(entry) or _conflict(entry, before)
    if problem:
        return [problem]
    settings = {"connection": entry.connection, **entry.of_drop, **entry.settings, "name": entry.name}
    try:
        return SiteSettings.model_validate(settings, context={"folder": SiteList(path, {}, {}).sql_folder})
    except ValidationError as error:
        # A union reports each of its types.
        return list(dict.fromkeys(map(in_words, error.errors())))


def _misnamed(entry: _Entry) -> str | None:
    if not _NAME.fullmatch(entry.name):
        return (
            "rename it: a site's name has lower-case letters, digits and underscores, a letter first, 60 "
            "characters at most, since it becomes part of DAG ids and Variables"
        )
    if "name" in entry.settings:
        return f"name: remove it: the name is that of the table, {entry.name}"
    if "sources" in entry.settings and (both := {"source", "query", "filter"} & entry.settings.keys()):
        return f"sources: move {', '.join(sorted(both))} into one of [[{entry.name}.sources]]"
    return None


def _conflict(entry: _Entry, before: list[_Entry]) -> str | None:
    """
    Return the conflict of a site with an earlier one, if there is one.

    Unusable earlier entries count too: their rows must not go to another site meanwhile.
    """
    if entry.name in {earlier.name for earlier in before}:
        return "there is a site of this name already, which counts: give this one another name"
    for earlier in before:
        if earlier.connection == entry.connection:
            return f"connection: [{earlier.name}] has the same: give each site its own connection"
        reads_same = any(read in earlier.reads for read in entry.reads)
        if reads_same and not (entry.settings.get("shares_rows") or earlier.settings.get("shares_rows")):
            return (
                f"reads the same rows as [{earlier.name}]: give it another source, query or filter, or set "
                "shares_rows = true if each training belongs to the site that stages it first"
            )
    return None
