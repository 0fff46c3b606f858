"""Room: player accounts, their personal data apart, sign-in and status."""
