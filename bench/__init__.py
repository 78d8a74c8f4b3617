"""`just bench`: real roles against MariaDB and Redis, driven over mTLS, beside their ceilings in the same run."""
