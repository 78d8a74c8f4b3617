"""How a server says what it will do."""

from __future__ import annotations

from messagebroker.db import inspection


def explain() -> str:
    """As a table: MySQL 9 draws a tree unless asked, and MariaDB does not know how to be asked."""
    return "EXPLAIN" if "MariaDB" in inspection.server() else "EXPLAIN FORMAT=TRADITIONAL"
