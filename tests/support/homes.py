"""What tests of homes need: an installation's secrets, and rights that are only written down."""

from __future__ import annotations

from pathlib import Path

from messagebroker.roles import Role

DATABASE_URL = "mysql+pymysql://systemuser:k3Jd82hs@db.example.org:3306/message_system"
REDIS_URL = "redis://:w7Qp19vx@redis.example.org:6379/0"


class Recorded:
    """Rights of an installation whose rights are all as they have to be."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Path, str | None]] = []

    def root(self, folder: Path) -> list[Path]:
        self.calls.append(("root", folder, None))
        return []

    def home(self, folder: Path, role: Role) -> list[Path]:
        self.calls.append(("home", folder, role.name))
        return []

    def guest(self, folder: Path) -> list[Path]:
        self.calls.append(("guest", folder, None))
        return []

    def logs(self, folder: Path) -> list[Path]:
        self.calls.append(("logs", folder, None))
        return []
