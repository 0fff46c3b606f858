"""When a driver is given a rest, tried again, and held in quarantine."""

from __future__ import annotations

from pitboss.plughost.contracts import Circuit, HealthState, Verdict
from pitboss.plughost.rules import (
    FAILURES_TO_PAUSE,
    FAULTS_TO_QUARANTINE,
    PAUSE_SECONDS,
    QUARANTINE_SECONDS,
    decide_admission,
    decide_circuit,
    decide_health,
)

S, F, X = Verdict.SUCCESS, Verdict.FAILURE, Verdict.FAULT


def after(*verdicts: Verdict, now: float = 100.0) -> Circuit:
    circuit = Circuit()
    for verdict in verdicts:
        circuit = decide_circuit(circuit, verdict, now)
    return circuit


def test_fewer_failures_than_the_limit_pause_nothing() -> None:
    circuit = after(*[F] * (FAILURES_TO_PAUSE - 1))
    assert decide_admission(circuit, 100.0) == ""
    assert decide_health(circuit) is HealthState.HEALTHY


def test_the_last_failure_pauses_until_the_moment_and_not_longer() -> None:
    circuit = after(*[F] * FAILURES_TO_PAUSE)
    assert decide_health(circuit) is HealthState.DEGRADED
    assert decide_admission(circuit, 100.0 + PAUSE_SECONDS - 0.001) == "held back: the vendor fails"
    assert decide_admission(circuit, 100.0 + PAUSE_SECONDS) == ""


def test_a_success_between_them_begins_the_count_anew() -> None:
    assert after(*[F] * (FAILURES_TO_PAUSE - 1), S, *[F] * (FAILURES_TO_PAUSE - 1)).is_paused is False
    assert after(*[X] * (FAULTS_TO_QUARANTINE - 1), F, *[X] * (FAULTS_TO_QUARANTINE - 1)).faults == 2


def test_faults_of_the_plugin_are_held_longer() -> None:
    circuit = after(*[X] * FAULTS_TO_QUARANTINE)
    assert decide_health(circuit) is HealthState.QUARANTINED
    assert decide_admission(circuit, 100.0 + QUARANTINE_SECONDS - 0.001) == "held back: the plugin breaks its contract"
    assert decide_admission(circuit, 100.0 + QUARANTINE_SECONDS) == ""
    assert QUARANTINE_SECONDS > PAUSE_SECONDS


def test_one_failed_trial_pauses_again_and_one_that_succeeds_forgets_everything() -> None:
    paused = after(*[F] * FAILURES_TO_PAUSE)
    again = decide_circuit(paused, F, 500.0)
    assert decide_admission(again, 500.0 + PAUSE_SECONDS - 1) != ""
    assert decide_circuit(paused, S, 500.0) == Circuit()


def test_one_trial_at_a_time() -> None:
    paused = after(*[F] * FAILURES_TO_PAUSE)
    on_trial = Circuit(paused.failures, paused.faults, paused.paused_until, on_trial=True)
    assert decide_admission(on_trial, 1_000.0) != ""
    assert decide_circuit(on_trial, F, 1_000.0).on_trial is False
