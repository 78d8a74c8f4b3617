"""The roles as services of a system: Windows services, systemd units, containers; all made from the one table of roles."""
