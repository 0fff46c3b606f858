"""Requests of data subjects: cases with a clock, exports of what is held, restriction, erasure."""
