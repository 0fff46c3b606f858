"""Revisions of the databases of the control plane."""
