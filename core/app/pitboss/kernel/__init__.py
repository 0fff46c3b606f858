"""Values without I/O, usable from every room."""
