"""The application behind the page "Springest", mounted into Airflow's API server by the plugin."""

from __future__ import annotations

import mimetypes
from typing import Final

from fastapi import FastAPI, HTTPException, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException

from springest.errors import ConfigurationError, SourceError, SpringestError
from springest_provider.cli.errors import in_one_line
from springest_provider.ui import approve, decide, deliveries, dictionary, overview, story
from springest_provider.ui.filters import BadFilterError, LedgerNeededError
from springest_provider.ui.pages import STATIC, render
from springest_provider.ui.security import DAG_ID, Reader, SecurityHeaders, login_url

_TITLES: Final = {400: "This does not work", 403: "Not allowed", 404: "Not found"}
_UNAVAILABLE: Final = (
    (SourceError, "The source can't be read"),
    (ConfigurationError, "A setting is missing or wrong"),
    (Exception, "The warehouse can't be read"),
)
"""Titles of failures; the first class that fits counts."""


def create_app() -> FastAPI:
    """Return the application; every route gets user and permissions from Airflow."""
    # There are only pages, so there is no API to describe.
    app = FastAPI(title="Springest", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SecurityHeaders)
    app.get("/static/{name}")(asset)
    for module in (overview, deliveries, story, decide, approve, dictionary):
        app.include_router(module.router)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(BadFilterError, _bad_filter)
    app.add_exception_handler(RequestValidationError, _incomplete)
    app.add_exception_handler(LedgerNeededError, _ledger_needed)
    app.add_exception_handler(SpringestError, _unavailable)
    app.add_exception_handler(SQLAlchemyError, _unavailable)
    return app


def asset(name: str, _visitor: Reader) -> FileResponse:
    """
    Return a style sheet or script of the page.

    :raises HTTPException: 404 if there is no such file.
    """
    if name not in STATIC:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such file")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {"Cache-Control": "private, max-age=86400"}  # its address changes with its content
    return FileResponse(STATIC[name], media_type=kind, headers=headers)


def _http_error(request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, StarletteHTTPException) else 500
    detail = str(getattr(error, "detail", ""))
    if code == status.HTTP_401_UNAUTHORIZED:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(login_url(request), status.HTTP_303_SEE_OTHER)
        return JSONResponse({"detail": "Not authenticated"}, code)
    return _page(request, code, detail)


def _bad_filter(request: Request, error: Exception) -> Response:
    return _page(request, status.HTTP_400_BAD_REQUEST, str(error))


def _incomplete(request: Request, error: Exception) -> Response:
    fields = error.errors() if isinstance(error, RequestValidationError) else []
    names = ", ".join(sorted({str(field["loc"][-1]) for field in fields}))
    text = f"the form is incomplete ({names}): open the page again; nothing was changed"
    return _page(request, status.HTTP_400_BAD_REQUEST, text)


def _ledger_needed(request: Request, _error: Exception) -> Response:
    text = f"Which run staged a delivery is in the ledger, which takes the permission to trigger {DAG_ID}."
    return _page(request, status.HTTP_403_FORBIDDEN, text)


def _unavailable(request: Request, error: Exception) -> Response:
    title = next(title for kind, title in _UNAVAILABLE if isinstance(error, kind))
    return _page(request, status.HTTP_503_SERVICE_UNAVAILABLE, in_one_line(error), title)


def _page(request: Request, code: int, text: str, title: str | None = None) -> Response:
    title = title or _TITLES.get(code, "This did not work")
    text = text[:1].upper() + text[1:]
    return render(request, None, "error.html", status_code=code, title=title, text=text)
