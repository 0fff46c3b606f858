"""Every SQL statement of the ledger: `posting` for lanes, `accounts` for use cases, `proof` for verification."""
