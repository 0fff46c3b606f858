"""Jurisdiction zz_example: data, read from the files beside this one."""
