"""Player accounts: registration, sign-in, status, closing and password reset."""
