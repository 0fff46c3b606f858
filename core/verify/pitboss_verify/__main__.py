"""Lets `python -m pitboss_verify` run the command."""

from pitboss_verify.command import main

main()
