"""How brands look: colours derived from one, logos, and the stylesheet that a cell serves under a brand's domain."""
