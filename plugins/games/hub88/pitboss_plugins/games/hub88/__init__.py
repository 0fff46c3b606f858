"""The wallet dialect and the game calls of Hub88, and of Caleta, whose protocol is the same in other words."""
