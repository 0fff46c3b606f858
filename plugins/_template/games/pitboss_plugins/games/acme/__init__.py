"""The wallet dialect of Acme."""
