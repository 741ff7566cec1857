"""The control API under ``/_sandbox``: actions of Springest's employees, and data for tests.

It needs no key, because the sandbox listens on loopback only. A body is the JSON of a dataclass; an unknown
field is refused with 422.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Body, HTTPException, Query
from pydantic import TypeAdapter, ValidationError

from sandbox.faults import Fault
from sandbox.profiles import PROFILES, Profile
from sandbox.state import SandboxState
from sandbox.store import Certification, NewCertificate
from sandbox.summary import summarise

Made = TypeVar("Made")
Values = Annotated[dict[str, Any], Body()]
Size = Annotated[int, Query(ge=-1, description="rows at most; -1 is all")]
Offset = Annotated[int, Query(ge=0)]


class Control:
    """The control API of a state.

    :param state: the state that it controls.
    """

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._store = state.store

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/_sandbox")
        for method, path, endpoint in (
            ("GET", "/summary", self.summary),
            ("GET", "/certificates", self.certificates),
            ("POST", "/certificates", self.plant),
            ("DELETE", "/certificates/{certificate_id}", self.remove),
            ("GET", "/requests", self.requests),
            ("GET", "/certifications", self.certifications),
            ("PUT", "/certifications", self.replace_certifications),
            ("POST", "/certifications", self.add_certification),
            ("POST", "/certifications/{certification_id}/verify", self.verify),
            ("POST", "/certifications/{certification_id}/unverify", self.unverify),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("POST", "/release", self.release),
            ("PUT", "/profile", self.replace_profile),
            ("PUT", "/profile/{name}", self.set_profile),
            ("POST", "/reset", self.reset),
        ):
            router.add_api_route(path, endpoint, methods=[method])
        return router

    def summary(self) -> dict[str, Any]:
        """Return a summary in numbers."""
        return summarise(self._store).as_json()

    def certificates(self, size: Size = -1, offset: Offset = 0) -> list[dict[str, Any]]:
        """Return the stored certificates."""
        return _all(self._store.certificates(size=size, offset=offset))

    def plant(self, values: Values) -> dict[str, Any]:
        """Store a certificate that nobody posted."""
        return asdict(self._store.store(_made(NewCertificate, values)))

    def remove(self, certificate_id: int) -> None:
        """Remove a certificate."""
        if not self._store.remove_certificate(certificate_id):
            raise HTTPException(404, f"there is no certificate {certificate_id}")

    def requests(self, size: Size = -1, offset: Offset = 0) -> list[dict[str, Any]]:
        """Return the requests and their statuses."""
        return _all(self._store.requests(size=size, offset=offset))

    def certifications(self) -> list[dict[str, Any]]:
        """Return all certifications, verified or not."""
        return _all(self._store.certifications())

    def add_certification(self, values: Values) -> None:
        """Add a certification, or replace it."""
        self._store.add_certification(_made(Certification, values))

    def replace_certifications(self, values: Annotated[list[dict[str, Any]], Body()]) -> None:
        """Replace all certifications by these."""
        wanted = [_made(Certification, value) for value in values]
        for old in self._store.certifications():
            self._store.remove_certification(old.id)
        for value in wanted:
            self._store.add_certification(value)

    def verify(self, certification_id: int) -> None:
        """Verify a certification, as an employee does."""
        self._verified(certification_id, verified=True)

    def unverify(self, certification_id: int) -> None:
        """Revoke a verification, as an employee does."""
        self._verified(certification_id, verified=False)

    def faults(self) -> list[dict[str, Any]]:
        """Return the pending faults."""
        return _all(self._state.faults.waiting())

    def add_fault(self, values: Values) -> None:
        """Add a fault."""
        self._state.faults.add(_made(Fault, values))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._state.faults.clear()

    def release(self) -> list[dict[str, Any]]:
        """Store the certificates that are due later."""
        return _all(self._store.release())

    def replace_profile(self, values: Values) -> dict[str, Any]:
        """Apply a profile; missing settings are as documented."""
        self._state.profile = _made(Profile, values)
        return asdict(self._state.profile)

    def set_profile(self, name: str) -> None:
        """Apply a profile by name."""
        if name not in PROFILES:
            raise HTTPException(404, f"there is no profile {name}: there are {', '.join(PROFILES)}")
        self._state.profile = PROFILES[name]

    def reset(self) -> None:
        """Remove everything received and all faults."""
        self._state.reset()

    def _verified(self, certification_id: int, *, verified: bool) -> None:
        if not self._store.verify(certification_id, verified=verified):
            raise HTTPException(404, f"there is no certification {certification_id}")


def _made(kind: type[Made], values: dict[str, Any]) -> Made:
    """Create a dataclass from JSON; check its types and refuse unknown fields."""
    unknown = values.keys() - {field.name for field in fields(cast("Any", kind))}
    if unknown:
        raise HTTPException(422, f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        message = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise HTTPException(422, message) from None


def _all(records: Sequence[Any]) -> list[dict[str, Any]]:
    return [asdict(record) for record in records]
