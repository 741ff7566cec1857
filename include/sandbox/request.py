"""One request to the sandbox: its parameters, and its fault."""

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
    """A request and its fault.

    :param fault: the fault found so far.
    :param document: sha256 of the file, after the whole form was read.
    """

    request: Request
    state: SandboxState
    fault: Fault | None = None
    document: str | None = None

    def meet_at_head(self) -> None:
        """Look for a fault after the head was read; for any fault if no form follows."""
        method, path = self.request.method, self.request.url.path
        self.fault = self.state.faults.next(Seen(method, path))
        if method == "GET":
            wanted = self.request.query_params
            self.meet_with_fields(whole_number(wanted.get("certification_id")), wanted.get("email", ""))

    def meet_with_fields(self, certification_id: int | None, email: str) -> None:
        """Look for a fault once the certificate's fields are known, unless there is one already."""
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
        """Return an integer of the query.

        :raises BadParameter: it is something else.
        """
        text = self.request.query_params.get(name)
        value = whole_number(text)
        if text and value is None:
            raise BadParameter(f"{name} is not a number")
        return value

    def day(self, name: str) -> date | None:
        """Return a date of the query.

        :raises BadParameter: it is something else.
        """
        text = self.request.query_params.get(name)
        value = iso_day(text)
        if text and value is None:
            raise BadParameter(f"{name} is not a date")
        return value

    def paging(self) -> tuple[int, int]:
        """Return the number of rows, limited to a page, and the offset."""
        most = self.state.page_max
        return min(self.number("size") or most, most), self.number("offset") or 0
