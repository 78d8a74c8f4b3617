"""What the image leaves out of the libraries; that all roles still load is seen in tier containers."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import nicegui
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = Path(nicegui.__file__).parents[1]
PORTAL = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "messagebroker").rglob("*.py")))


@pytest.fixture(scope="module")
def trim() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trim", ROOT / "docker" / "trim.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_portal_has_nothing_of_what_is_left_out(trim: ModuleType) -> None:
    used = set(re.findall(r"\bui\.(\w+)\(", PORTAL))
    assert "page" in used
    assert used & {*trim.UNUSED_ELEMENTS, "restructured_text", "add_sass", "add_scss"} == set()


def test_it_is_all_there_today(trim: ModuleType) -> None:
    """A library that moves it would end the build, which nobody sees before a release."""
    elements = [PACKAGES / "nicegui" / "elements" / name / "dist" for name in trim.UNUSED_ELEMENTS]
    assert [path for path in elements if not path.is_dir()] == []
    assert [name for name in trim.UNUSED_FILES if not (PACKAGES / name).is_file()] == []
    assert [name for name in trim.UNUSED_PACKAGES if not (PACKAGES / name).is_dir()] == []


def test_what_is_left_out_goes_and_its_folder_stays(trim: ModuleType, tmp_path: Path) -> None:
    kept = tmp_path / "nicegui" / "elements" / "table.js"
    gone = [tmp_path / "nicegui" / "elements" / name / "dist" / "images" / "a.js" for name in trim.UNUSED_ELEMENTS]
    gone += [tmp_path / name for name in trim.UNUSED_FILES]
    gone += [tmp_path / name / "a.py" for name in trim.UNUSED_PACKAGES]
    for path in (kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    trim.remove_unused(tmp_path)
    assert [path for path in gone if path.exists()] == []
    assert kept.exists()
    assert all((tmp_path / "nicegui" / "elements" / name / "dist").is_dir() for name in trim.UNUSED_ELEMENTS)
