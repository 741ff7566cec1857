"""The data dictionary: the analysts' tables and views, from their comments in the warehouse."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from springest.db.dictionary import describe
from springest.db.roles import READER
from springest_provider.ui.pages import render
from springest_provider.ui.security import Reader
from springest_provider.ui.sites import sites
from springest_provider.ui.warehouse import warehouse

router: Final = APIRouter()


@router.get("/dictionary")
def dictionary(request: Request, visitor: Reader) -> HTMLResponse:
    """Show the tables and views that analysts read, with the comment of every column."""
    with warehouse.reading() as connection:
        known = sites(connection, request.query_params.get("site"))
        columns = [column for column in describe(connection) if column.relation in READER]
    relations = [list(group) for _, group in groupby(columns, key=lambda column: column.relation)]
    return render(request, visitor, "dictionary.html", sites=known, relations=relations)
