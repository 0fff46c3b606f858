"""Entry point of the databases: provisioning, migrations, policies and the comparison with the live catalog."""
