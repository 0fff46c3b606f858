"""How long records are kept, what holds them back, and how they are destroyed when their time is over."""
