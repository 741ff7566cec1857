"""The user's query as it is run: as it stands, counted, and searched by training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    TextClause,
    Unicode,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.types import NullType, TypeEngine

from springest.errors import ConfigurationError
from springest.source.values import LONGEST_TRAINING_ID

BOUNDS: Final = ("window_start", "window_end")
_PARAMETER: Final = re.compile(r"(?<![:\w\\]):([\w$]+)(?![:\w$])")
"""What SQLAlchemy takes for a bound parameter, wherever it stands."""
_QUOTED_OR_COMMENT: Final = re.compile(r"'[^']*'|\"[^\"]*\"|(?P<comment>--[^\n]*|/\*.*?\*/)", re.DOTALL)
_END: Final = re.compile(r";(?:\s|--[^\n]*|/\*.*?\*/)*\Z", re.DOTALL)
_ALL: Final[ColumnElement[Any]] = literal_column("*")


class TrainingQuery:
    """Makes statements of the query of completed trainings, in whatever dialect they are run.

    :param query: one SELECT with the bound parameters ``:window_start`` and ``:window_end``. Any other
        ``:word``, and whatever stands in a comment, is no parameter.
    :raises ConfigurationError: a bound parameter is missing.
    """

    def __init__(self, query: str) -> None:
        self.sql = _END.sub("", query.strip())
        clause = _bindable(self.sql)
        for name in BOUNDS:
            if name not in clause._bindparams:  # noqa: SLF001 - the clause has no public list of them
                raise ConfigurationError(
                    f"the query of completed trainings does not use the parameter :{name}"
                )
        self.rows: TextClause = clause
        self._table = clause.columns(column("training_id"), column("issue_no")).subquery("completed")

    @property
    def count(self) -> Select[Any]:
        """Count the rows."""
        return select(func.count()).select_from(self._table)

    @property
    def no_rows(self) -> Select[Any]:
        """Give the names of the columns, and nothing else."""
        return select(_ALL).select_from(self._table).where(literal_column("1") == literal_column("0"))

    @property
    def training_ids(self) -> Select[Any]:
        """Give the number of each row."""
        return select(self._table.c.training_id)

    @property
    def groups(self) -> Select[Any]:
        """Give each number once, with how many rows have it."""
        number = self._table.c.training_id
        return select(number, func.count()).group_by(number)

    def with_ids(self, ids: Sequence[Any], *, as_text: bool, what: Any = _ALL) -> Select[Any]:
        """Give the rows of these trainings.

        :param as_text: compare the text of the source's numbers: any number can be compared, and no index is
            used. Otherwise they are bound without a type, so that the source compares them as its own.
        :param what: a column or an expression instead of the whole row.
        """
        kind: TypeEngine[Any] = Unicode(LONGEST_TRAINING_ID) if as_text else NullType()
        number: ColumnElement[Any] = self._table.c.training_id
        number = cast(number, kind) if as_text else number
        wanted = bindparam("training_ids", list(ids), expanding=True, type_=kind)
        return select(what).select_from(self._table).where(number.in_(wanted))

    def without_id(self) -> Select[Any]:
        """Give the rows without a number."""
        return select(_ALL).select_from(self._table).where(self._table.c.training_id.is_(None))


def _bindable(query: str) -> TextClause:
    """Return the query with only its own parameters bound, and on lines of its own: a comment may end it."""
    kept = _QUOTED_OR_COMMENT.sub(
        lambda found: _without_parameters(found[0]) if found["comment"] else found[0], query
    )
    return text(f"\n{_without_parameters(kept, but=BOUNDS)}\n")


def _without_parameters(query: str, *, but: Sequence[str] = ()) -> str:
    return _PARAMETER.sub(lambda found: found[0] if found[1] in but else f"\\{found[0]}", query)
