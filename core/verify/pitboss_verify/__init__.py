"""Checks a package of an audit log with nothing but the standard library and the public keys."""
