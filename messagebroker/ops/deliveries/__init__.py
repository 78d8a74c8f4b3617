"""The life of a delivery: routed when its message is stored, claimed when it is due, ended by its last attempt."""
