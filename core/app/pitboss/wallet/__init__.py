"""Room: the money hot path, where concurrent requests become one decided and committed batch."""
