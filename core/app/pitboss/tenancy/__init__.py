"""The control plane's register: tenants, their brands and domains, and the cell that each lives in."""
