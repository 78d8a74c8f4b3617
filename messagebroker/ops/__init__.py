"""Plain functions that do the system's work; no dramatiq, falcon or nicegui in here."""
