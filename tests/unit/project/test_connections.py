"""Engines, connections and Variables of Airflow are made in one place each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRODUCT = ("dags", "plugins", "include/springest")
PLACES = {
    "include/springest/db/engines.py": {"create_engine", "create_async_engine"},
    "plugins/springest_provider/secret_places.py": {"get_connection"},
    "plugins/springest_provider/lookups.py": {"get_connection", "Variable.get", "Variable.set"},
}
MAKERS = {
    "create_engine",
    "create_async_engine",
    "create_pool_from_url",
    "engine_from_config",
    "async_engine_from_config",
    "get_sqlalchemy_engine",
    "get_connection",
    "Variable.get",
    "Variable.set",
    "psycopg.connect",
    "connect_async",
}


def makers(path: Path) -> Iterator[str]:
    """Give what a module calls or imports of ``MAKERS``, by whatever name a class or module has there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            names = {node.attr, f"{owner}.{node.attr}"}
        else:
            continue
        yield from names & MAKERS


@pytest.mark.parametrize("folder", PRODUCT)
def test_only_one_place_makes_engines_and_reads_settings(folder):
    """Engines, connections and Variables created elsewhere would miss the common options."""
    found = {
        str(path.relative_to(ROOT)): set(makers(path))
        for path in (ROOT / folder).rglob("*.py")
        if set(makers(path))
    }
    assert found == {path: names for path, names in PLACES.items() if path.startswith(folder)}
