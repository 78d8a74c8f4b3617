"""Falcon apps `proxy` and `main` on waitress with TLS in the process."""
