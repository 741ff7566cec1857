"""Everything the sandbox is, in one place that its routes, its control API and a test share."""

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
    """Everything the sandbox is.

    :param requests_per_hour: cap for each key over a sliding hour; ``None`` is none.
    :param page_max: rows that a page has at most, whatever ``size`` asks for.
    :param clock: seconds since the epoch.
    :param keep_files: folder that gets every file it took, named by its sha256; ``None`` keeps none.
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
        """Return a name for a key, without the key."""
        names = {self.certifications_api_key: "certifications", self.api_key: "certificates"}
        return names.get(key or "", "none")

    def opens(self, key_name: str, needed: str) -> bool:
        """Return whether a key opens a method; a site may have one key for both."""
        return key_name == needed or (key_name != "none" and self.api_key == self.certifications_api_key)

    def seconds_over_cap(self, key_name: str) -> float | None:
        """Count a request; return when to come back if it is one too many."""
        if self.requests_per_hour is None:
            return None
        return self.hour.take(key_name, limit=self.requests_per_hour, now=self.clock())

    def reset(self) -> None:
        """Forget what was received and what was to go wrong; certifications and the profile stay."""
        self.store.forget()
        self.faults.clear()
        self.hour.clear()
