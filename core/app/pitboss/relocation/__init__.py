"""A tenant as a whole: packed into a kit, unpacked in another cell, compared, and removed where it was."""
