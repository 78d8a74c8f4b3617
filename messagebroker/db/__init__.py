"""Models, connection and migrations. State changes are methods here; nothing above writes SQL of its own."""
