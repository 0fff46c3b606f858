"""In each cell: the signed directory of tenants that the cell serves from, kept across restarts."""
