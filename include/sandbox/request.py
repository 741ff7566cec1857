"""One request on its way through the sandbox: its parameters, and the fault that befalls it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from starlette.requests import Request

from sandbox.faults import Fault, Seen
from sandbox.readers import iso_day, whole_number
from sandbox.state import SandboxState


class BadParameter(ValueError):
    """A parameter of a list can't be read."""


@dataclass(slots=True)
class Exchange:
    """A request, and what befalls it.

    :param fault: the fault it met so far.
    :param document: sha256 of the file, once a whole form was read.
    """

    request: Request
    state: SandboxState
    fault: Fault | None = None
    document: str | None = None

    def meet_at_head(self) -> None:
        """Meet a fault once the head is read: any of them, when there is no form to come."""
        method, path = self.request.method, self.request.url.path
        self.fault = self.state.faults.next(Seen(method, path))
        if method == "GET":
            wanted = self.request.query_params
            self.meet_with_fields(whole_number(wanted.get("certification_id")), wanted.get("email", ""))

    def meet_with_fields(self, certification_id: int | None, email: str) -> None:
        """Meet a fault once the certificate's fields are known, unless one was met before."""
        if self.fault is None:
            method, path = self.request.method, self.request.url.path
            seen = Seen(method, path, whole=True, certification_id=certification_id, email=email)
            self.fault = self.state.faults.next(seen)

    async def read_some(self) -> None:
        """Read the first part of the body."""
        async for piece in self.request.stream():
            if piece:
                return

    def number(self, name: str) -> int | None:
        """Return a whole number from the query.

        :raises BadParameter: there is something else.
        """
        text = self.request.query_params.get(name)
        value = whole_number(text)
        if text and value is None:
            raise BadParameter(f"{name} is not a number")
        return value

    def day(self, name: str) -> date | None:
        """Return a day from the query.

        :raises BadParameter: there is something else.
        """
        text = self.request.query_params.get(name)
        value = iso_day(text)
        if text and value is None:
            raise BadParameter(f"{name} is not a date")
        return value

    def paging(self) -> tuple[int, int]:
        """Return how many rows are wanted, at most as many as a page has, and from where."""
        most = self.state.page_max
        return min(self.number("size") or most, most), self.number("offset") or 0
