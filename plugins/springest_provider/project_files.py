"""The files of an Airflow project that belong to its user: DAGs, queries, and the list of sites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from airflow.sdk.configuration import conf

_CHECKOUT: Final = Path(__file__).parents[2]
_SHIPPED: Final = Path(__file__).parent / "project"
"""In a wheel, a copy of ``_FOLDERS``."""
_FOLDERS: Final = ("dags", "include/sql")


def include_folder() -> Path:
    """
    Return the folder ``include`` of the Airflow project.

    It is beside Airflow's DAGs folder. A checkout whose DAGs folder is not configured has its own.
    """
    beside = Path(conf.get_mandatory_value("core", "dags_folder")).parent / "include"
    own = _CHECKOUT / "include"
    return own if not (beside / "sql").is_dir() and (own / "sql").is_dir() else beside


def write_project(folder: Path) -> Iterator[tuple[Path, str]]:
    """
    Write the DAGs and the example queries into the folder of an Airflow project. No existing file is changed.

    :returns: each file, relative to the folder, and ``written``, ``unchanged`` or, if it differs, ``kept``.
    """
    shipped = _SHIPPED if _SHIPPED.is_dir() else _CHECKOUT
    files = (file for name in _FOLDERS for file in (shipped / name).rglob("*.*") if file.is_file())
    for source in sorted(file for file in files if file.suffix in {".py", ".sql"}):
        relative = source.relative_to(shipped)
        target, content = folder / relative, source.read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as written:
                written.write(content)
        except FileExistsError:
            yield relative, "unchanged" if target.read_bytes() == content else "kept"
        else:
            yield relative, "written"
