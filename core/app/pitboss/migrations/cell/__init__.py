"""Revisions of the databases of cells."""
