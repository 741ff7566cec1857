"""The control API under ``/_sandbox``: what Springest's employees do, and what a test wants to know."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException

from include.sandbox.faults import Fault, Kind
from include.sandbox.profiles import PROFILES
from include.sandbox.store import Certification, NewCertificate

if TYPE_CHECKING:
    from include.sandbox.app import SandboxState


class Control:
    """The control API over a state.

    :param state: what it controls.
    """

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._store = state.store

    def routes(self) -> APIRouter:
        """Return its routes."""
        router = APIRouter(prefix="/_sandbox")
        for method, path, endpoint in (
            ("GET", "/certificates", self.certificates),
            ("POST", "/certificates", self.plant),
            ("GET", "/requests", self.requests),
            ("GET", "/certifications", self.certifications),
            ("POST", "/certifications", self.add_certification),
            ("POST", "/certifications/{certification_id}/verify", self.verify),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("POST", "/release", self.release),
            ("PUT", "/profile/{name}", self.set_profile),
        ):
            router.add_api_route(path, endpoint, methods=[method])
        return router

    def certificates(self) -> list[dict[str, Any]]:
        """Everything that was stored."""
        return [asdict(one) for one in self._store.certificates()]

    def plant(self, values: dict[str, Any]) -> dict[str, Any]:
        """Store a certificate that nobody posted."""
        return asdict(self._store.store(NewCertificate(**values)))

    def requests(self) -> list[dict[str, Any]]:
        """Every request, and what was answered."""
        return [asdict(one) for one in self._store.requests()]

    def certifications(self) -> list[dict[str, Any]]:
        """Every certification, verified or not."""
        return [asdict(one) for one in self._store.certifications()]

    def add_certification(self, values: dict[str, Any]) -> None:
        """Make a certification."""
        self._store.add_certification(Certification(**values))

    def verify(self, certification_id: int) -> None:
        """Let an employee verify a certification."""
        if not self._store.verify(certification_id):
            raise HTTPException(404, f"there is no certification {certification_id}")

    def add_fault(self, values: dict[str, Any]) -> None:
        """Let something go wrong."""
        self._state.faults.add(Fault(**{**values, "kind": Kind(values["kind"])}))

    def clear_faults(self) -> None:
        """Let nothing more go wrong."""
        self._state.faults.clear()

    def release(self) -> list[dict[str, Any]]:
        """Store what was to be stored late."""
        return [asdict(one) for one in self._store.release()]

    def set_profile(self, name: str) -> None:
        """Behave otherwise."""
        if name not in PROFILES:
            raise HTTPException(404, f"there is no profile {name}: there are {', '.join(PROFILES)}")
        self._state.profile = replace(PROFILES[name])
