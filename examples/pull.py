"""Takes messages of subscription 7 and prints them: `.venv/bin/python examples/pull.py 7`, as the client demo.

Elsewhere give the folder with NAME.crt, NAME.key and ca.crt, and main, as options or in CERTS and MAIN. Ctrl+C ends it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from messagebroker.client import ClientError, PullClient, SetupError


def main() -> None:
    """Takes, prints, acknowledges, for ever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subscription", help="the number of a subscription with the channel `pull` and this client")
    parser.add_argument("--certs", type=Path, default=Path(os.environ.get("CERTS", "messagebroker-data/certs")))
    parser.add_argument("--main", default=os.environ.get("MAIN", "https://localhost:8000"))
    parser.add_argument("--name", default="demo", help="of the client")
    given = parser.parse_args()
    files = {"cert": given.certs / f"{given.name}.crt", "key": given.certs / f"{given.name}.key", "ca": given.certs / "ca.crt"}
    try:
        with PullClient(given.main, **files) as client:
            for message in client.listen(given.subscription):
                print(f"{message.message_id} on {message.topic}: {message.body}", flush=True)
    except KeyboardInterrupt:
        sys.exit(0)
    except SetupError as error:
        sys.exit(f"{error}\n`python3 bootstrap.py up` makes {given.certs} for the client demo; --certs says where yours are")
    except ClientError as error:
        hint = f"is the system running (`python3 bootstrap.py up`), and is {given.main} its main server? --main says where"
        sys.exit(f"{error}\n{hint}")


if __name__ == "__main__":
    main()
