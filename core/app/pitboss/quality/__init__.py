"""Data quality: how whole, unique, consistent and timely a tenant's records are, hour by hour, and what is wrong with them."""
