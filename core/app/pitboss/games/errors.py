"""Errors of the games room that callers may see."""

from __future__ import annotations

from pitboss_sdk.errors import ErrorKind, PitbossError


class GameNotFound(PitbossError):
    """The tenant does not offer such a game."""

    code = "games.game_not_found"
    kind = ErrorKind.NOT_FOUND


class GameSessionNotFound(PitbossError):
    """The player has no such game session."""

    code = "games.session_not_found"
    kind = ErrorKind.NOT_FOUND


class RoundNotFound(PitbossError):
    code = "games.round_not_found"
    kind = ErrorKind.NOT_FOUND


class LaunchRefused(PitbossError):
    """The aggregator was reached and would not open the game."""

    code = "games.launch_refused"
    kind = ErrorKind.REFUSED


class AggregatorUnavailable(PitbossError):
    """The aggregator did not answer, or not in time; the same call may succeed later."""

    code = "games.aggregator_unavailable"
    kind = ErrorKind.UNAVAILABLE
