"""Room: what a player's licence and her tenant together demand on a day."""
