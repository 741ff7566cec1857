"""Dependencies point one way: dags → plugins → include."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ORDER = (
    ("errors", "verification", "suspend_clock", "redaction"),
    ("states", "setting_values", "identity"),
    ("documents",),
    ("site",),
    ("db",),
    ("rate_limit", "api"),
    ("session", "source"),
    ("privacy", "catalogue"),
    ("staging",),
    ("delivery", "snapshot"),
    ("matching",),
    ("verdicts",),
    ("review", "copies"),
)
"""The packages and modules of ``springest``: each imports only what stands above it."""
LONGEST_DAG = 120
LONGEST_MODULE = 350
LONGER = {
    "include/springest/db/schema.py": "one table after the other",
    "include/springest/errors.py": "the whole error tree",
}


def _modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield node.module or ""


def _offenders(folder: str, *forbidden: str, but: str = " ") -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _modules(folder)
        if not str(path.relative_to(ROOT)).startswith(but)
        for name in _imports(path)
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in forbidden)
    ]


def test_include_imports_neither_airflow_nor_its_users():
    """Only the demo, which starts an Airflow, may."""
    assert _offenders("include", "airflow", "springest_provider", "dags", but="include/demo/") == []


def test_the_order_of_the_packages_is_complete():
    """A new package is given its place."""
    found = {path.stem for path in (ROOT / "include" / "springest").iterdir()} - {"__init__", "__pycache__"}
    assert {name for level in ORDER for name in level} == found


def test_packages_import_downwards_only():
    """No cycle: a package can be read, tested and replaced with what stands above it in ``ORDER``."""
    level_of = {name: level for level, names in enumerate(ORDER) for name in names}
    backwards = []
    for path in _modules("include/springest"):
        package = path.relative_to(ROOT / "include" / "springest").with_suffix("").parts[0]
        for name in _imports(path):
            _, _, rest = name.partition("springest.")
            imported = rest.partition(".")[0]
            outside = name.startswith("springest.") and imported != package
            if outside and level_of[imported] >= level_of[package]:
                backwards.append(f"{path.relative_to(ROOT)} imports {name}")
    assert backwards == []


def test_every_package_describes_itself():
    """A stranger reads ``__init__`` first."""
    silent = [
        str(path.relative_to(ROOT))
        for folder in ("include", "plugins")
        for path in _modules(folder)
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_nothing_imports_the_folder_include():
    """A wheel must not install a package called ``include``; an Astro project has one of its own."""
    assert [
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("include", "plugins", "dags", "benchmarks")
        for path in _modules(folder)
        for name in _imports(path)
        if name.partition(".")[0] == "include"
    ] == []


def test_the_domain_knows_neither_the_sandbox_nor_the_demo():
    """Production code does not depend on the code for trying it out."""
    assert _offenders("include/springest", "sandbox", "demo") == []


def test_the_sandbox_shares_no_code_with_the_domain():
    """A shared mistake would pass every test."""
    assert _offenders("include/sandbox", "springest", "demo") == []


def test_plugins_import_neither_dags_nor_demo_nor_sandbox():
    """Operators can be used in somebody else's DAGs."""
    assert _offenders("plugins", "dags", "sandbox", "demo", "tests") == []


def test_dags_are_wiring_only():
    """A DAG file takes Airflow and the provider, and nothing below them."""
    allowed = {"airflow", "springest_provider", "datetime", "pathlib", "__future__"}
    found = {name.partition(".")[0] for path in _modules("dags") for name in _imports(path)}
    assert found <= allowed


@pytest.mark.parametrize("path", _modules("dags"), ids=lambda path: path.name)
def test_a_dag_is_a_page_one_reads_at_a_glance(path):
    """A budget, to notice when a DAG begins to hold logic."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_DAG


def test_a_module_is_one_concept():
    """A budget, to notice when a module becomes several."""
    long = {
        str(path.relative_to(ROOT))
        for folder in ("include", "plugins")
        for path in _modules(folder)
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_MODULE
    }
    assert long <= LONGER.keys()


def test_every_advisory_lock_is_in_the_one_list():
    """A lock that is made elsewhere has no place in the order, and its holders have no name."""
    makes_one = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "include" / "springest").rglob("*")
        if path.suffix in {".py", ".sql"}
        and "hashtextextended('springest" in path.read_text(encoding="utf-8")
    ]
    assert sorted(makes_one) == ["include/springest/db/locks.py", "include/springest/db/sql/lock_holders.sql"]
