"""What was captured at the tables themselves, and what becomes of holding it against the audit log."""
