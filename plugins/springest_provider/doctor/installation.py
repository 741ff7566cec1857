"""The systems that an installation uses, for its checks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Engine

from springest.documents.opener import DocumentStore
from springest.identity import Pseudonyms
from springest.site import Site
from springest.source.reader import Row
from springest.source.several import TrainingSource
from springest_provider import factories
from springest_provider.cli.session import Sources
from springest_provider.doctor.checkup import Missing
from springest_provider.hooks.springest import SpringestHook

T = TypeVar("T")


@dataclass
class Installation:
    """The systems to check; each is opened once, when it is first needed."""

    springest_conn_id: str
    warehouse_conn_id: str
    sources: Sources
    _stack: ExitStack = field(default_factory=ExitStack)
    _found: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        """Close the opened systems."""
        self._stack.close()

    @property
    def site(self) -> Site:
        """The site."""
        return self._part("Springest connection", lambda: SpringestHook(self.springest_conn_id).get_site())

    @property
    def warehouse(self) -> Engine:
        """The warehouse, with the required schema."""
        return self._part(
            "warehouse", lambda: self._stack.enter_context(factories.warehouse(self.warehouse_conn_id))
        )

    @property
    def pseudonyms(self) -> Pseudonyms:
        """The learner secret."""
        return self._part("learner secret", factories.pseudonyms)

    @property
    def documents(self) -> DocumentStore:
        """The documents' store."""
        return self._part("document roots", lambda: factories.documents(self.site))

    def reader(self, name: str) -> TrainingSource:
        """Return the reader of one source."""

        def make() -> TrainingSource:
            found = [item for item in self.sources.queries if item.name == name]
            return self._stack.enter_context(factories.reader(found))

        return self._part(f"source {name}", make)

    def sample(self, source: str) -> Row:
        """Return a row of a source."""
        found = self._found.get(f"sample row of {source}")
        if found is None:
            raise Missing("there is no sample row")
        row: Row = found
        return row

    def keep_sample(self, source: str, row: Row) -> None:
        """Keep a row for the checks that follow."""
        self._found[f"sample row of {source}"] = row

    def _part(self, name: str, make: Callable[[], T]) -> T:
        """Return a part; the check that meets it first gets its error, and the others are skipped."""
        if name not in self._found:
            try:
                self._found[name] = make()
            except Exception:
                self._found[name] = None
                raise
        found: T | None = self._found[name]
        if found is None:
            raise Missing(f"needs the {name}, which has a problem itself")
        return found
