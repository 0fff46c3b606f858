"""Secretaria de Prêmios e Apostas, Brazil: data, read from the files beside this one."""
