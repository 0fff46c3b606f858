"""Commands of `pitboss`, one module a group; the composition root assembles them."""
