"""The JSON API, one module an audience."""
