"""The promises of each kind of plugin, as named checks."""
