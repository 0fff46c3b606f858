"""Room: what a player may deposit, stake and lose in a period."""
