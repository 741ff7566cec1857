"""Where the page appears in Airflow's UI."""

from __future__ import annotations

from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from springest_provider.ui.links import URL_PREFIX

NAME: Final = "Springest"
_ROOT: Final = URL_PREFIX.removeprefix("/")
"""Relative: the UI resolves it under any prefix."""
_OF_RUN: Final = f"{_ROOT}/deliveries?run={{RUN_ID}}"


class LazyApp:
    """
    The application, created by the first request.

    Every process of Airflow loads plugins, even each task. Only API servers serve pages, whose imports take
    long.
    """

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application."""
        if self._app is None:
            from springest_provider.ui.app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


FASTAPI_APPS: Final[list[dict[str, Any]]] = [{"app": LazyApp(), "url_prefix": URL_PREFIX, "name": NAME}]
EXTERNAL_VIEWS: Final[list[dict[str, Any]]] = [
    {"name": NAME, "href": f"{_ROOT}/", "destination": "nav", "url_route": "springest"},
    {"name": NAME, "href": f"{_ROOT}/", "destination": "dag", "url_route": "springest-dag"},
    {"name": NAME, "href": _OF_RUN, "destination": "dag_run", "url_route": "springest-run"},
    {"name": NAME, "href": _OF_RUN, "destination": "task_instance", "url_route": "springest-task"},
]
