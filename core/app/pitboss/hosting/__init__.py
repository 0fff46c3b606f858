"""What a cell does when control asks: open a tenant's books, enable its plugins, keep the directory."""
