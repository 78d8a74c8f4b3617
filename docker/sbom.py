"""The image's bill of materials in CycloneDX's JSON: `sbom.py ENVIRONMENT PACKAGES.tsv…` writes it to stdout.

PACKAGES.tsv holds a Debian package a line: name, version, architecture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

PRODUCT = "messagebroker"


def main(environment: Path, lists: list[Path]) -> str:
    """The whole document."""
    components = {
        component.bom_ref.value: component for component in (*python_components(environment), *debian_components(lists))
    }
    bom = Bom(components=components.values())
    bom.metadata.component = next(one for one in components.values() if one.name == PRODUCT)
    bom.components.discard(bom.metadata.component)
    bom.register_dependency(bom.metadata.component, bom.components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_5).output_as_string(indent=1)


def python_components(environment: Path) -> Iterator[Component]:
    """What pip installed."""
    packages = next((environment / "lib").glob("python3*/site-packages"))
    for distribution in distributions(path=[str(packages)]):
        name, version = distribution.metadata["Name"], distribution.version
        url = PackageURL("pypi", name=name.lower().replace("_", "-"), version=version)
        kind = ComponentType.APPLICATION if name == PRODUCT else ComponentType.LIBRARY
        yield Component(name=name, version=version, type=kind, purl=url, bom_ref=str(url), licenses=licenses_of(distribution))


def licenses_of(distribution: Distribution) -> list[LicenseExpression | DisjunctiveLicense]:
    """As the package declares it; long texts in the old field are no names."""
    if expression := distribution.metadata.get("License-Expression"):
        return [LicenseExpression(expression)]
    name = distribution.metadata.get("License", "").strip()
    return [DisjunctiveLicense(name=name)] if 0 < len(name) < 60 and "\n" not in name else []


def debian_components(lists: list[Path]) -> Iterator[Component]:
    """What came from Debian."""
    for path in lists:
        for line in path.read_text(encoding="utf-8").splitlines():
            name, version, architecture = line.split("\t")
            url = PackageURL("deb", "debian", name, version, {"arch": architecture, "distro": "bookworm"})
            yield Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url))


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
