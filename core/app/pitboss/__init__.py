"""Pitboss: the open back office that runs online casinos and sportsbooks."""
