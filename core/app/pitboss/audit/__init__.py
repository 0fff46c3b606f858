"""Who did what to which thing, written in the transaction of the change itself."""
