"""`python tests/audit_dependencies.py`: asks whether a locked requirement has a known vulnerability.

Ends with 1 when one has. Without a service that knows, it says that nothing was audited, and does not fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
SECONDS = 120.0
NOTHING = "pip-audit: no service here knows of vulnerabilities; nothing was audited"


def main() -> int:
    """The exit code."""
    words = ["--disable-pip", "--no-deps", "--requirement", str(LOCK), "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return say(NOTHING)
    return judge(done.stdout)


def judge(answer: str) -> int:
    """Of pip-audit's JSON."""
    try:
        found: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        return say(NOTHING)
    known = [one for one in found if "skip_reason" not in one]
    bad = [one for one in known if one["vulns"]]
    if not known:
        return say(NOTHING)
    for one in bad:
        for vulnerability in one["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {vulnerability['id']}, mended in {fixed}")
    unknown = f", {len(found) - len(known)} not known to the service" if len(found) > len(known) else ""
    say(f"pip-audit: {len(known)} requirements audited, {len(bad)} with known vulnerabilities{unknown}")
    return 1 if bad else 0


def say(text: str) -> int:
    """Shows it; 0."""
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
