"""The reference pages, made from the code: `python -m tools.reference` writes them to docs/reference."""
