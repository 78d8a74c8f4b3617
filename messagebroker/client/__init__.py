"""The Python client of the API, sync and async. Stands alone: imports nothing else of this package."""
