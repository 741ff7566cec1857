"""A client of the control API, for a sandbox that runs as a process of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import httpx

from sandbox.faults import Fault
from sandbox.profiles import Profile
from sandbox.store import Certification, NewCertificate, Request, StoredCertificate
from sandbox.summary import Summary


class SandboxClient:
    """Does what an employee of Springest does, and asks what the sandbox received; a context manager.

    Every method raises ``httpx.HTTPStatusError`` if refused, ``httpx.TransportError`` if the sandbox is gone.

    :param url: where the sandbox listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # No proxy of the environment stands between two processes of one machine.
        self._http = httpx.Client(base_url=f"{url}/_sandbox", timeout=30, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def summary(self) -> Summary:
        """Everything in a few numbers."""
        return Summary(**self._call("GET", "/summary"))

    def certificates(self, *, size: int = -1, offset: int = 0) -> list[StoredCertificate]:
        """What was stored: everything, or ``size`` of it from ``offset``."""
        rows = self._call("GET", "/certificates", params={"size": size, "offset": offset})
        return [StoredCertificate(**row) for row in rows]

    def requests(self, *, size: int = -1, offset: int = 0) -> list[Request]:
        """Requests, and what was answered: all, or ``size`` of them from ``offset``."""
        rows = self._call("GET", "/requests", params={"size": size, "offset": offset})
        return [Request(**row) for row in rows]

    def certifications(self) -> list[Certification]:
        """Every certification, verified or not."""
        return [Certification(**row) for row in self._call("GET", "/certifications")]

    def add_certification(self, certification: Certification) -> None:
        """Make a certification, or replace it."""
        self._call("POST", "/certifications", json=asdict(certification))

    def replace_certifications(self, certifications: Iterable[Certification]) -> None:
        """Put these certifications in place of all there are."""
        self._call("PUT", "/certifications", json=[asdict(certification) for certification in certifications])

    def verify(self, certification_id: int, *, verified: bool = True) -> None:
        """Let an employee verify a certification, or take that back."""
        self._call("POST", f"/certifications/{certification_id}/{'verify' if verified else 'unverify'}")

    def plant(self, certificate: NewCertificate) -> StoredCertificate:
        """Store a certificate that nobody posted."""
        return StoredCertificate(**self._call("POST", "/certificates", json=asdict(certificate)))

    def remove_certificate(self, certificate_id: int) -> None:
        """Let a certificate disappear."""
        self._call("DELETE", f"/certificates/{certificate_id}")

    def faults(self) -> list[Fault]:
        """What is yet to go wrong."""
        return [Fault(**row) for row in self._call("GET", "/faults")]

    def add_fault(self, fault: Fault) -> None:
        """Let something go wrong."""
        self._call("POST", "/faults", json=asdict(fault))

    def clear_faults(self) -> None:
        """Let nothing more go wrong."""
        self._call("DELETE", "/faults")

    def release(self) -> list[StoredCertificate]:
        """Store what was to be stored late."""
        return [StoredCertificate(**row) for row in self._call("POST", "/release")]

    def set_profile(self, profile: str | Profile) -> None:
        """Behave as a named profile says, or as this one does."""
        if isinstance(profile, Profile):
            self._call("PUT", "/profile", json=asdict(profile))
        else:
            self._call("PUT", f"/profile/{profile}")

    def reset(self) -> None:
        """Forget what was received and what was to go wrong."""
        self._call("POST", "/reset")

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        return self._http.request(method, path, **arguments).raise_for_status().json()
