"""What the image is, without a project around it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pytest
from support.images import Images, ca_bundle, docker, inspected

from messagebroker.roles import ROLES

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(600)]
MEGABYTE = 1_000_000  # as `docker images` counts


def inside(images: Images, *words: str) -> str:
    """A program in a container as hardened as the roles' are, without a network."""
    hard = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--network=none", "--tmpfs=/tmp")
    return docker("run", "--rm", *hard, "--entrypoint", words[0], images.program, *words[1:])


def test_it_is_under_250_megabytes(images: Images, record_property: Any) -> None:
    size = int(str(inspected(images.program)["Size"]))
    record_property("image_megabytes", size // MEGABYTE)
    assert size < 250 * MEGABYTE


def test_it_runs_as_nobody_of_importance_and_says_what_it_is(images: Images) -> None:
    config: dict[str, Any] = inspected(images.program)["Config"]  # type: ignore[assignment]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--", "messagebroker"]
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert {"title", "description", "licenses", "version", "revision"} <= labels
    assert config["Labels"]["org.opencontainers.image.version"] == metadata.version("messagebroker")
    assert inside(images, "id", "-u").strip() == "10001"


def test_every_role_can_be_loaded_in_it(images: Images) -> None:
    modules = ", ".join(role.entry.partition(":")[0] for role in ROLES)
    assert inside(images, "python", "-W", "error", "-c", f"import {modules}; print('loaded')").strip() == "loaded"


def test_it_holds_no_tools_to_build_or_install(images: Images) -> None:
    programs = "for name in pip gcc strip curl wget; do command -v $name; done; true"
    assert inside(images, "sh", "-c", programs).strip() == ""
    assert "no pip" in inside(images, "sh", "-c", "python -c 'import pip' 2>/dev/null || echo no pip")


def test_its_files_cannot_be_changed_by_the_roles(images: Images) -> None:
    assert inside(images, "find", "/opt/messagebroker", "-writable", "-not", "-type", "l").strip() == ""


def test_the_dump_programs_start(images: Images) -> None:
    assert "mariadb-dump" in inside(images, "mariadb-dump", "--version")
    assert "mariadb" in inside(images, "mariadb", "--version")


def test_the_bill_of_materials_names_what_is_installed(images: Images) -> None:
    document = json.loads(inside(images, "cat", "/opt/messagebroker/share/sbom.cdx.json"))
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", "messagebroker")
    named = {unquote(component["purl"].partition("@")[0]) for component in document["components"]}
    listing = "from importlib.metadata import distributions as d; print('\\n'.join(x.metadata['Name'] for x in d()))"
    python = {f"pkg:pypi/{name.lower().replace('_', '-')}" for name in inside(images, "python", "-c", listing).split()}
    debian = {f"pkg:deb/debian/{name}" for name in inside(images, "dpkg-query", "-W", "-f", "${Package}\n").split()}
    assert (python | debian) - named == {"pkg:pypi/messagebroker"}
    assert "pkg:deb/debian/mariadb-client" in named  # its programs are there, the package is not


def test_no_layer_holds_a_secret_or_what_the_build_was_given(images: Images, tmp_path: Path) -> None:
    """Layers, not only the file system they add up to: what a later one removes is still there."""
    given = {hashlib.sha256(Path(words.rpartition("=")[2]).read_bytes()).digest() for words in ca_bundle()[1:]}
    saved = tmp_path / "image.tar"
    docker("image", "save", "--output", str(saved), images.program, seconds=120)
    seen, suspects = 0, []
    for name, data in files_in_layers(saved):
        seen += 1
        home = name.startswith("var/lib/messagebroker/") or name.startswith("run/")
        named = PurePosixPath(name).suffix in (".key", ".acl") or PurePosixPath(name).name in (".env", "pip.conf", ".netrc")
        private = b"\0" not in data and b"PRIVATE KEY-----\nM" in data  # libraries know the word
        if data and (home or named or private or hashlib.sha256(data).digest() in given):
            suspects.append(name)
    assert seen > 5000
    assert suspects == []


def files_in_layers(saved: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(saved) as image:
        manifest = json.load(image.extractfile("manifest.json"))  # type: ignore[arg-type]
        for layer in manifest[0]["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                for member in files:
                    if member.isfile():
                        yield member.name.removeprefix("./"), files.extractfile(member).read()  # type: ignore[union-attr]
