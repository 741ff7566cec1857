"""A client of the control API, for a sandbox in a separate process."""

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
    """Acts as Springest's employees, and reads what the sandbox received; a context manager.

    Every method raises ``httpx.HTTPStatusError`` if refused, ``httpx.TransportError`` if the sandbox is gone.

    :param url: URL of the sandbox.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # Both processes are on this machine, so no proxy is used.
        self._http = httpx.Client(base_url=f"{url}/_sandbox", timeout=30, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
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
        """Return a summary in numbers."""
        return Summary(**self._call("GET", "/summary"))

    def certificates(self, *, size: int = -1, offset: int = 0) -> list[StoredCertificate]:
        """Return the stored certificates: all, or ``size`` of them from ``offset``."""
        rows = self._call("GET", "/certificates", params={"size": size, "offset": offset})
        return [StoredCertificate(**row) for row in rows]

    def requests(self, *, size: int = -1, offset: int = 0) -> list[Request]:
        """Return the requests and their statuses: all, or ``size`` of them from ``offset``."""
        rows = self._call("GET", "/requests", params={"size": size, "offset": offset})
        return [Request(**row) for row in rows]

    def certifications(self) -> list[Certification]:
        """Return all certifications, verified or not."""
        return [Certification(**row) for row in self._call("GET", "/certifications")]

    def add_certification(self, certification: Certification) -> None:
        """Add a certification, or replace it."""
        self._call("POST", "/certifications", json=asdict(certification))

    def replace_certifications(self, certifications: Iterable[Certification]) -> None:
        """Replace all certifications by these."""
        self._call("PUT", "/certifications", json=[asdict(certification) for certification in certifications])

    def verify(self, certification_id: int, *, verified: bool = True) -> None:
        """Verify a certification, or revoke that, as an employee does."""
        self._call("POST", f"/certifications/{certification_id}/{'verify' if verified else 'unverify'}")

    def plant(self, certificate: NewCertificate) -> StoredCertificate:
        """Store a certificate that nobody posted."""
        return StoredCertificate(**self._call("POST", "/certificates", json=asdict(certificate)))

    def remove_certificate(self, certificate_id: int) -> None:
        """Remove a certificate."""
        self._call("DELETE", f"/certificates/{certificate_id}")

    def faults(self) -> list[Fault]:
        """Return the pending faults."""
        return [Fault(**row) for row in self._call("GET", "/faults")]

    def add_fault(self, fault: Fault) -> None:
        """Add a fault."""
        self._call("POST", "/faults", json=asdict(fault))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._call("DELETE", "/faults")

    def release(self) -> list[StoredCertificate]:
        """Store the certificates that are due later."""
        return [StoredCertificate(**row) for row in self._call("POST", "/release")]

    def set_profile(self, profile: str | Profile) -> None:
        """Apply a profile, given by name or value."""
        if isinstance(profile, Profile):
            self._call("PUT", "/profile", json=asdict(profile))
        else:
            self._call("PUT", f"/profile/{profile}")

    def reset(self) -> None:
        """Remove everything received and all faults."""
        self._call("POST", "/reset")

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        return self._http.request(method, path, **arguments).raise_for_status().json()
