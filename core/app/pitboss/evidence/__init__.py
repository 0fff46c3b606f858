"""The log of rounds and payments: every booking in sealed segments that prove it years later."""
