"""Room: the rows that move in a posting, the chart of house accounts, and the proof that all of it adds up."""
