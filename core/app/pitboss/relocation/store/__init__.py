"""Every SQL statement of moves: the register in control, and a tenant's rows in a cell."""
