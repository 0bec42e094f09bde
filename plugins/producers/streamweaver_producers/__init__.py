"""First-party producers."""
