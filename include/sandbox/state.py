"""The state of the sandbox, shared by its routes, its control API and tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.cap import SlidingHour
from sandbox.faults import Faults
from sandbox.profiles import Profile
from sandbox.store import Store


@dataclass(slots=True)
class SandboxState:
    """The state of the sandbox.

    :param requests_per_hour: cap for each key over a sliding hour; ``None`` means none.
    :param page_max: maximum number of rows in a page, whatever the ``size`` of the request.
    :param clock: seconds since the epoch.
    :param keep_files: folder for every stored file, named by its sha256; ``None`` keeps none.
    """

    store: Store
    api_key: str = field(repr=False)
    certifications_api_key: str = field(repr=False)
    profile: Profile = field(default_factory=Profile)
    faults: Faults = field(default_factory=Faults)
    requests_per_hour: int | None = 4000
    page_max: int = 100
    clock: Callable[[], float] = time.time
    keep_files: Path | None = None
    hour: SlidingHour = field(default_factory=SlidingHour)

    def key_name(self, key: str | None) -> str:
        """Return the name of a key, never the key."""
        names = {self.certifications_api_key: "certifications", self.api_key: "certificates"}
        return names.get(key or "", "none")

    def opens(self, key_name: str, needed: str) -> bool:
        """Return whether a key may use a method; a site may have one key for both."""
        return key_name == needed or (key_name != "none" and self.api_key == self.certifications_api_key)

    def seconds_over_cap(self, key_name: str) -> float | None:
        """Count a request; return the seconds to wait if it exceeds the cap."""
        if self.requests_per_hour is None:
            return None
        return self.hour.take(key_name, limit=self.requests_per_hour, now=self.clock())

    def reset(self) -> None:
        """Remove everything received and all faults; certifications and the profile stay."""
        self.store.forget()
        self.faults.clear()
        self.hour.clear()
