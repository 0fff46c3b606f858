"""Room: awards of bonus money, their terms and what becomes of them."""
