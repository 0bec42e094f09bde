"""The engine: runs a checked pipeline on a broker."""
