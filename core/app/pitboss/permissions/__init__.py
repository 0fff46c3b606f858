"""Which actor may do what: a registry of permissions and one check at every edge."""
