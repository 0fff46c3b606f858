"""HTTP: the edge that players, operators, providers and probes reach."""
