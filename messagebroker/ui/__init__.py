"""NiceGUI: one page a file, one frame. Talks to main through `messagebroker.client` only."""
