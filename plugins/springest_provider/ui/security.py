"""Permissions of the page, and the security headers of its responses.

Airflow's own login and permissions apply: reading needs what reading the DAG ``springest_deliver`` needs,
deciding what triggering it needs. State changes also need a token that only the page's own forms hold.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.sdk.configuration import conf
from fastapi import Depends, Form, HTTPException, Request, Response, status
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from springest.review.audit_text import is_shared
from springest_provider.users import short_name

DAG_ID: Final = "springest_deliver"
TOKEN_SECONDS: Final = 12 * 3600
"""How long after opening it a form may be sent."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_BROWSER_COOKIE: Final = "springest_browser_"
"""Begins the name of a cookie: tabs that are opened at once, before there is one, each get their own."""
_BROWSER_NAME: Final = re.compile(r"[\w-]{43}", re.ASCII)

_read = requires_access_dag(method="GET", param_dag_id=DAG_ID)
_trigger = requires_access_dag(method="POST", access_entity=DagAccessEntity.RUN, param_dag_id=DAG_ID)


@dataclass(frozen=True, slots=True)
class Visitor:
    """
    The user of a request.

    :param user_id: the auth manager's identifier of the user.
    :param full_name: the user's name in Airflow, which may be an e-mail address.
    :param may_decide: may trigger the DAG, and so see the ledger and decide.
    """

    user_id: str
    full_name: str
    may_decide: bool

    @property
    def name(self) -> str:
        """The name to show."""
        return short_name(self.full_name)

    @property
    def is_shared(self) -> bool:
        """Whether several people use this login, so that it identifies none of them."""
        return is_shared(self.name)


def reader(request: Request, user: GetUserDep) -> Visitor:
    """
    Return the user, who may read.

    :raises HTTPException: 401 when nobody is signed in, 403 when the user may not read the DAG.
    """
    _read(request, user)
    return Visitor(str(user.get_id()), user.get_name(), _may_trigger(request, user))


def operator(visitor: Annotated[Visitor, Depends(reader)]) -> Visitor:
    """
    Return the user, who may decide.

    :raises HTTPException: 403 when the user may not trigger the DAG.
    """
    if not visitor.may_decide:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, f"This needs the permission to trigger the DAG {DAG_ID}"
        )
    return visitor


Reader = Annotated[Visitor, Depends(reader)]
Operator = Annotated[Visitor, Depends(operator)]


def form_operator(request: Request, visitor: Operator, token: Annotated[str, Form()] = "") -> Visitor:
    """
    Return the user, who may decide and sent a form of this page.

    :raises HTTPException: 403 when the form comes from elsewhere, or was opened too long ago.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site != "same-origin" or not _is_token(token, visitor, _browsers(request)):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            "This form is too old or does not come from this page. Nothing was changed: open the page again",
        )
    return visitor


FormOperator = Annotated[Visitor, Depends(form_operator)]


def form_token(visitor: Visitor, browser: str) -> str:
    """
    Return the token that a form of this user carries.

    :param browser: of ``name_browser``; a token that leaks is of no use to another browser.
    """
    return _serializer().dumps([visitor.user_id, browser])


def name_browser(request: Request) -> str:
    """Return the random name in this browser's session cookie, or a new one."""
    return next(iter(_browsers(request)), None) or secrets.token_urlsafe(32)


def keep_browser_name(request: Request, response: Response, browser: str) -> None:
    """Set the cookie with the browser's name, unless it is set already."""
    if browser not in _browsers(request):
        response.set_cookie(
            _BROWSER_COOKIE + browser[:8],
            browser,
            path=request.scope.get("root_path") or "/",
            secure=request.base_url.scheme == "https" or bool(conf.get("api", "ssl_cert", fallback="")),
            httponly=True,
            samesite="lax",
        )


def _browsers(request: Request) -> list[str]:
    cookies = sorted(request.cookies.items())
    return [
        name for key, name in cookies if key.startswith(_BROWSER_COOKIE) and _BROWSER_NAME.fullmatch(name)
    ]


def login_url(request: Request) -> str:
    """Return the URL for signing in, which leads back to the requested page."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    url: str = get_auth_manager().get_url_login(next_url=path)
    return url


class SecurityHeaders:
    """Middleware that puts ``HEADERS`` on every response, unless the response has set one itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and complete the headers of its response."""

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, complete)


def _may_trigger(request: Request, user: GetUserDep) -> bool:
    try:
        _trigger(request, user)
    except HTTPException:
        return False
    return True


def _is_token(token: str, visitor: Visitor, browsers: Sequence[str]) -> bool:
    try:
        found = _serializer().loads(token, max_age=TOKEN_SECONDS)
    except BadSignature:
        return False
    return found in [[visitor.user_id, browser] for browser in browsers]


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(get_signing_key("api", "secret_key"), salt="springest.ui.form")
