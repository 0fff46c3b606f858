"""Work outside requests: the relay hands due jobs to the broker, workers run them, each exactly once in effect."""
