"""The front door: takes messages in. No database, no private key."""
