"""Room: games, sessions and rounds; turns an aggregator's calls into wallet requests."""
