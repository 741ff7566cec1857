"""Read a site's sources as if they were one.

Windows are read from each source in turn, in the order of their names, so the order in the settings does not
matter. A ``training_id`` that two sources have is that of two trainings, but of one delivery: its rows are
marked, and the contract sets them aside (see docs/adr/0034-a-site-may-have-several-sources.md). If a source
fails, so does the whole read: a training that was not found in one source may be in another.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Protocol

from springest.errors import ConfigurationError, SourceError
from springest.source.contract import SOURCES
from springest.source.reader import Row, SourceReader
from springest.source.values import identifier
from springest.source.window import Window


class TrainingSource(Protocol):
    """What staging and the look-ups need of a site's source, or of all of them."""

    @property
    def names(self) -> frozenset[str]:
        """Names of the sources, as the settings have them."""

    def open_window(
        self, window: Window, *, by_training: bool = False
    ) -> AbstractContextManager[tuple[int, Iterator[list[Row]]]]:
        """Yield the expected number of rows in a window, and the rows in batches."""

    def count(self, window: Window) -> int:
        """Return the number of rows in a window."""

    def look_up(self, training_ids: Sequence[str]) -> list[Row]:
        """Return the rows of these trainings, whenever they last changed."""

    def not_found_again(self, window: Window) -> list[str]:
        """Return trainings among the window's first ones that are not found by their id."""


class SeveralSources:
    """Reads several sources.

    :param readers: the reader of each source by its name.
    """

    def __init__(self, readers: Mapping[str, SourceReader]) -> None:
        self._readers = dict(sorted(readers.items()))

    @property
    def names(self) -> frozenset[str]:
        """Names of the sources."""
        return frozenset(self._readers)

    @contextmanager
    def open_window(
        self, window: Window, *, by_training: bool = False
    ) -> Iterator[tuple[int, Iterator[list[Row]]]]:
        """Yield the sources' own counts of the window, added up, and their rows in batches.

        All sources are counted before the first row is read, so one that is away is noticed before anything
        is staged. Each is read in a snapshot of its own, which begins when its turn comes, so that no
        connection is idle meanwhile; the sum of the counts may differ from the number of rows.

        :raises UnreadableRows: as ``SourceReader.open_window``; each error names its source.
        :raises SourceError: a source fails, or returns another number of rows than it counts.
        """
        count = self.count(window)
        with closing(self._batches(window, by_training=by_training)) as batches:
            yield count, batches

    def _batches(self, window: Window, *, by_training: bool) -> Generator[list[Row], None, None]:
        for name, reader in self._readers.items():
            with ExitStack() as stack:
                with naming(name):
                    _, batches = stack.enter_context(reader.open_window(window, by_training=by_training))
                while True:
                    with naming(name):
                        batch = next(batches, None)
                    if batch is None:
                        break
                    yield self._marked({name: batch}, self._others_with(name, batch))

    def _others_with(self, name: str, batch: Sequence[Row]) -> dict[str, list[Row]]:
        """Return the rows that other sources have for the trainings of a batch."""
        names = {identifier(row["training_id"]) for row in batch}
        wanted = sorted(found for found in names if found is not None)
        return {source: self._find(source, wanted) for source in self._readers if source != name}

    def count(self, window: Window) -> int:
        """Return the number of rows that all sources have in a window.

        :raises SourceError: a source fails.
        """
        counts = []
        for name, reader in self._readers.items():
            with naming(name):
                counts.append(reader.count(window))
        return sum(counts)

    def look_up(self, training_ids: Sequence[str]) -> list[Row]:
        """Return the rows that any source has for these trainings, whenever they last changed.

        An id is compared as text, which uses no index, only where a source can't compare it otherwise, or if
        no source has it.
        """
        found = {name: self._find(name, training_ids) for name in self._readers}
        having = _ids(found)
        if missing := [number for number in training_ids if number not in having]:
            for name in self._readers:
                found[name] += self._find(name, missing, thoroughly=True)
        return self._marked(found, {})

    def not_found_again(self, window: Window) -> list[str]:
        """Return trainings among the first ones of each source that it does not find by their id."""
        not_found: set[str] = set()
        for name, reader in self._readers.items():
            with naming(name):
                not_found.update(reader.not_found_again(window))
        return sorted(not_found)

    def _find(self, name: str, training_ids: Sequence[str], *, thoroughly: bool = False) -> list[Row]:
        wanted = set(training_ids)
        with naming(name):
            rows = self._readers[name].look_up(training_ids, thoroughly=thoroughly)
        # Databases that convert text to numbers also return the row 7 for '7-a'.
        return [row for row in rows if identifier(row["training_id"]) in wanted]

    @staticmethod
    def _marked(rows: Mapping[str, Sequence[Row]], others: Mapping[str, Sequence[Row]]) -> list[Row]:
        """Return rows with the names of all sources that have their training, if they are several."""
        having = _ids({**others, **rows})
        marked = []
        for found in rows.values():
            for row in found:
                names = having.get(identifier(row["training_id"]), ())
                marked.append({**row, SOURCES: tuple(names) if len(names) > 1 else ()})
        return marked


def _ids(rows: Mapping[str, Sequence[Row]]) -> dict[str | None, list[str]]:
    """Return the names of the sources that have each training, in order."""
    having: dict[str | None, list[str]] = {}
    for name in sorted(rows):
        for number in {identifier(row["training_id"]) for row in rows[name]} - {None}:
            having.setdefault(number, []).append(name)
    return having


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Name the source in its errors."""
    try:
        yield
    except (SourceError, ConfigurationError) as error:
        raise type(error)(f"source {name}: {error}") from None
