"""The core API."""
