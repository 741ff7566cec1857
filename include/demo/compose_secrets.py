"""``python -m demo.compose_secrets``: makes the passwords and keys of docker-compose.yaml, each in a file.

Each folder is a volume that only the services that need its files mount. What exists stays, so it can be
repeated at each start, and a volume that was lost gets the values that the others still have.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

FOLDER: Final = Path("/opt/airflow/secrets")
ROLES: Final = ("airflow", "training_reader", "source_owner", "warehouse_owner", "warehouse_job")
"""PostgreSQL's logins."""


def _token() -> str:
    return secrets.token_hex(32)


MADE: Final[Mapping[str, Callable[[], str]]] = {
    **dict.fromkeys(("postgres", *ROLES), _token),
    **dict.fromkeys(("admin", "redis", "learner_secret", "api_secret", "jwt_secret"), _token),
    **dict.fromkeys(("api_key", "certifications_api_key"), _token),
    "fernet_key": lambda: Fernet.generate_key().decode(),
}
"""Each secret, and how it is made."""
DERIVED: Final = {
    "database_url": "postgresql+psycopg2://airflow:{airflow}@postgres/airflow",
    "broker_url": "redis://:{redis}@redis:6379/0",
    "result_backend": "redis://:{redis}@redis:6379/1",
    "redis.conf": "requirepass {redis}\n",
}
"""Files that contain another secret."""
VOLUMES: Final[Mapping[str, tuple[str, ...]]] = {
    "airflow": ("database_url", "fernet_key", "api_secret", "jwt_secret"),
    "celery": ("broker_url", "result_backend"),
    "init": (
        *("admin", "training_reader", "warehouse_owner", "warehouse_job"),
        *("learner_secret", "api_key", "certifications_api_key"),
    ),
    "postgres": ("postgres", *ROLES),
    "redis": ("redis", "redis.conf"),
    "sandbox": ("api_key", "certifications_api_key"),
    "trial": ("source_owner",),
}
OTHER_USERS: Final = frozenset({"postgres", "redis"})
"""Volumes of images that run as another user than this one; only those services mount them."""


def read_secret(volume: str, name: str) -> str:
    """Return a secret.

    :raises FileNotFoundError: it was not made, or this service does not mount its volume.
    """
    return (FOLDER / volume / name).read_text(encoding="utf-8")


def fill(folder: Path) -> list[str]:
    """Write each file that is missing; return them as ``volume/name``."""
    values = {name: _existing(folder, name) or make() for name, make in MADE.items()}
    values |= {name: pattern.format(**values) for name, pattern in DERIVED.items()}
    written = []
    for volume, names in VOLUMES.items():
        for name in names:
            if not (file := folder / volume / name).exists():
                _write(file, values[name], mode=0o444 if volume in OTHER_USERS else 0o400)
                written.append(f"{volume}/{name}")
    return written


def _existing(folder: Path, name: str) -> str | None:
    files = (folder / volume / name for volume, names in VOLUMES.items() if name in names)
    return next((file.read_text(encoding="utf-8") for file in files if file.exists()), None)


def _write(file: Path, value: str, *, mode: int) -> None:
    """Write a file atomically: a start that was cut off leaves no half of a secret."""
    partial = file.with_name(f".{file.name}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as output:
        output.write(value)
    partial.chmod(mode)  # whatever the umask
    partial.rename(file)


def main() -> int:
    """Write what is missing, and list the names."""
    print("\n".join(f"made {name}" for name in fill(FOLDER)) or "every secret exists")
    return 0


if __name__ == "__main__":
    sys.exit(main())
