"""``make audit``: look up every pinned package in a database of known vulnerabilities.

Exit codes: 0: none is known; 1: some are known; 2: the database did not respond for every package.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from demo.airflow_home import PROJECT

LOCKS: Final = ("requirements.txt", "requirements-dev.txt")
COMMAND: Final = (
    "tool", "run", "--quiet", "pip-audit==2.10.1",
    "--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off", "--timeout", "30",
)  # fmt: skip


def judge(packages: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """Return the report on pip-audit's ``dependencies``, and the exit code."""
    lines = [
        f"{package['name']} {package['version']}: {fault['id']}, fixed in "
        f"{', '.join(fault['fix_versions']) or 'no version yet'}"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    skipped = [str(package["name"]) for package in packages if "skip_reason" in package]
    if skipped or not packages:
        lines.append(
            f"NOT audited: the database of known vulnerabilities did not answer for {len(skipped)} of "
            f"{len(packages)} packages{f', such as {skipped[0]}' if skipped else ''}"
        )
        return lines, 1 if len(lines) > 1 else 2
    return (lines, 1) if lines else ([f"{len(packages)} packages, no known vulnerability"], 0)


def main() -> int:
    """Audit the lock files."""
    files = [argument for name in LOCKS for argument in ("--requirement", str(PROJECT / name))]
    uv = str(Path(sys.executable).parent / "uv")
    done = subprocess.run([uv, *COMMAND, *files], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        packages = []
        sys.stderr.write("".join(done.stderr.splitlines(keepends=True)[-1:]))
    lines, code = judge(packages)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
