"""Plugins: found without importing, allowed by the cell, loaded, configured and enabled for tenants."""
