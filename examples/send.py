"""Sends a message and reads it back: `.venv/bin/python examples/send.py hello` while `python3 bootstrap.py up` runs.

Elsewhere give the folder with NAME.crt, NAME.key and ca.crt, and the proxy, as options or in CERTS and PROXY.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from messagebroker.client import ClientError, MessageBroker, SetupError


def main() -> None:
    """Sends, reads back, says what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", default="hello")
    parser.add_argument("--certs", type=Path, default=Path(os.environ.get("CERTS", "messagebroker-data/certs")))
    parser.add_argument("--proxy", default=os.environ.get("PROXY", "https://localhost:8001"))
    parser.add_argument("--name", default="demo", help="of the client")
    given = parser.parse_args()
    files = {"cert": given.certs / f"{given.name}.crt", "key": given.certs / f"{given.name}.key", "ca": given.certs / "ca.crt"}
    try:
        with MessageBroker(given.proxy, **files) as broker:
            taken = broker.submit(given.text, topic="orders")
            message = broker.get(taken.message_id, wait=10)
    except SetupError as error:
        sys.exit(f"{error}\n`python3 bootstrap.py up` makes {given.certs} for the client demo; --certs says where yours are")
    except ClientError as error:
        sys.exit(
            f"{error}\nis the system running (`python3 bootstrap.py up`), and is {given.proxy} its proxy? --proxy says where"
        )
    print(f"{message.message_id} is {message.status}: {message.body}")


if __name__ == "__main__":
    main()
