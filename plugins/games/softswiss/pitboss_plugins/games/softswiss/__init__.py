"""The wallet dialect and the launcher of the SOFTSWISS Game Aggregator, API v2."""
