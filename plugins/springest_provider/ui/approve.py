"""Approving a run that the volume check refused, under the rules of the morning's review."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Request, status
from fastapi.responses import HTMLResponse

from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.approvals import SeenRun, approve_run
from springest_provider import factories
from springest_provider.sites import load_sites
from springest_provider.ui.filters import require_storable
from springest_provider.ui.pages import render
from springest_provider.ui.security import FormOperator
from springest_provider.ui.sites import sites_of
from springest_provider.ui.warehouse import warehouse
from springest_provider.users import recorded_name

LARGEST_COUNT: Final = 2**31 - 1

router: Final = APIRouter()


@router.post("/approve")
def approve(
    request: Request,
    visitor: FormOperator,
    site: Annotated[str, Form()],
    run: Annotated[str, Form()],
    certificates: Annotated[int, Form(ge=1, le=LARGEST_COUNT)],
    digest: Annotated[str, Form()],
    why: Annotated[str, Form()] = "",
    by: Annotated[str, Form()] = "",
) -> HTMLResponse:
    """
    Approve a run, if its certificates are still those that the page showed.

    :param digest: hash of these certificates and their versions.
    :raises BadFilterError: the form contains characters that the warehouse can't store; nothing was changed.
    """
    for name, value in (("site", site), ("run", run)):
        require_storable(name, value)
    with warehouse.reading() as connection:  # first: once the run is approved, the answer must say so
        known = sites_of(connection, site)
    refusal = None
    try:
        approve_run(
            warehouse.engine(),
            site=site,
            run_id=run,
            seen=SeenRun(certificates, digest),
            by=recorded_name(visitor.user_id, visitor.full_name, by),
            reason=why,
            redactor=Redactor(factories.read_site(load_sites().find(site).connection).secrets),
        )
    except DecisionRefused as refused:
        refusal = str(refused)
    return render(
        request,
        visitor,
        "approved.html",
        status_code=status.HTTP_409_CONFLICT if refusal else status.HTTP_200_OK,
        sites=known,
        run=run,
        certificates=certificates,
        refusal=refusal,
    )
