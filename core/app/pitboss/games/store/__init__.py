"""Every SQL statement of the games room: `rounds` for lanes and readers, `catalogue` for games and sessions."""
