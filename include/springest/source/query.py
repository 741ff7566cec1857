"""Statements built from the user's query: all rows, their count, and the rows of given trainings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
"""Text that SQLAlchemy interprets as a bound parameter, even in comments."""
_QUOTED_OR_COMMENT: Final = re.compile(r"'[^']*'|\"[^\"]*\"|(?P<comment>--[^\n]*|/\*.*?\*/)", re.DOTALL)
_END: Final = re.compile(r";(?:\s|--[^\n]*|/\*.*?\*/)*\Z", re.DOTALL)
_ALL: Final[ColumnElement[Any]] = literal_column("*")


class TrainingQuery:
    """Builds statements from the query of completed trainings, for any dialect.

    :param query: one SELECT with the bound parameters ``:window_start``, ``:window_end`` and those below. No
        other ``:word``, and nothing in a comment, is a parameter.
    :param parameters: values of further bound parameters, by name.
    :raises ConfigurationError: a bound parameter is missing.
    """

    def __init__(self, query: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.sql = _END.sub("", query.strip())
        values = parameters or {}
        clause = _bindable(self.sql, (*BOUNDS, *values))
        for name in (*BOUNDS, *values):
            if name not in clause._bindparams:  # noqa: SLF001 - the clause has no public list of them
                raise ConfigurationError(
                    f"the query of completed trainings does not use the parameter :{name}"
                )
        # Without a type, as the window: the source then compares them as its own.
        bound = (bindparam(name, value, type_=NullType()) for name, value in values.items())
        self.rows: TextClause = clause.bindparams(*bound)
        self._table = self.rows.columns(column("training_id"), column("issue_no")).subquery("completed")

    @property
    def count(self) -> Select[Any]:
        """Count the rows."""
        return select(func.count()).select_from(self._table)

    @property
    def no_rows(self) -> Select[Any]:
        """Select the columns, but no row."""
        return select(_ALL).select_from(self._table).where(literal_column("1") == literal_column("0"))

    @property
    def training_ids(self) -> Select[Any]:
        """Select the id of each row."""
        return select(self._table.c.training_id)

    @property
    def groups(self) -> Select[Any]:
        """Select each id with the number of its rows."""
        number = self._table.c.training_id
        return select(number, func.count()).group_by(number)

    def with_ids(self, ids: Sequence[Any], *, as_text: bool, selected: Any = _ALL) -> Select[Any]:
        """Select the rows of these trainings.

        :param as_text: compare the ids as text: this works for any id, but uses no index. Otherwise they are
            bound without a type, so that the source compares them with its own type.
        :param selected: a column or an expression instead of the whole row.
        """
        kind: TypeEngine[Any] = Unicode(LONGEST_TRAINING_ID) if as_text else NullType()
        number: ColumnElement[Any] = self._table.c.training_id
        number = cast(number, kind) if as_text else number
        wanted = bindparam("training_ids", list(ids), expanding=True, type_=kind)
        return select(selected).select_from(self._table).where(number.in_(wanted))

    def without_id(self) -> Select[Any]:
        """Select the rows without an id."""
        return select(_ALL).select_from(self._table).where(self._table.c.training_id.is_(None))


def _bindable(query: str, names: Sequence[str]) -> TextClause:
    """Return the query with only these parameters bound, between line breaks, as a comment may end it."""
    kept = _QUOTED_OR_COMMENT.sub(
        lambda found: _without_parameters(found[0]) if found["comment"] else found[0], query
    )
    return text(f"\n{_without_parameters(kept, but=names)}\n")


def _without_parameters(query: str, *, but: Sequence[str] = ()) -> str:
    return _PARAMETER.sub(lambda found: found[0] if found[1] in but else f"\\{found[0]}", query)
