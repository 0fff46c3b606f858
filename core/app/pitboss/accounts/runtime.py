"""Passwords: argon2id on a few threads of its own, so that neither the event loop nor the cores drown in it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from secrets import token_urlsafe

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pitboss.accounts.rules import normalise_password

_MEMORY_KIB = 19 * 1024
_PASSES = 2
"""OWASP's password storage cheat sheet, argon2id: 19 MiB, two passes, one lane; some 26 ms on one core."""
_THREADS = 2


class Passwords:
    """Hashes and checks passwords; one object a process."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="passwords")

    @cached_property
    def _nobodys_hash(self) -> str:
        return self._hasher.hash(token_urlsafe())

    async def hash(self, password: str) -> str:
        """Return the argon2id hash of `password` with a fresh salt."""
        normal = normalise_password(password)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, normal)

    async def verify(self, password_hash: str, password: str) -> bool:
        """Return whether `password` fits; without a hash the work is the same and the answer is no."""
        normal = normalise_password(password)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, password_hash, normal)

    def _verify(self, password_hash: str, password: str) -> bool:
        nobodys_hash = self._nobodys_hash
        try:
            self._hasher.verify(password_hash or nobodys_hash, password)
        except (VerificationError, InvalidHashError):
            return False
        return bool(password_hash)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)
