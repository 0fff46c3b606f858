"""Keys of personal data: epochs of a tenant, a key for each subject, sealed fields, blind indexes, erasure."""
