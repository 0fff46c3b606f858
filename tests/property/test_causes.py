"""A failed assertion is found below whatever hypothesis makes of it, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis.errors import Flaky, FlakyFailure, FlakyStrategyDefinition
from hypothesis.internal.conjecture.choice import choice_from_index
from tests.property.causes import find_assertion


def hide_in_the_context() -> NoReturn:
    """Raise what hypothesis does where a replay draws otherwise while the failure is being handled."""
    try:
        raise AssertionError("two cents")
    except AssertionError:
        raise FlakyStrategyDefinition("Inconsistent data generation!") from None


def hide_in_the_cause() -> NoReturn:
    """Raise over an error that was itself made of the failure."""
    wrapped = ValueError("an invariant")
    wrapped.__cause__ = AssertionError("two cents")
    raise Flaky("it passed this time") from wrapped


def hide_in_a_group() -> NoReturn:
    """Raise the failure among others, in a group of its own."""
    with pytest.raises(Flaky) as caught:
        hide_in_the_context()
    raise FlakyFailure("it passed this time", [ValueError("other"), ExceptionGroup("more", [caught.value])])


@pytest.mark.parametrize("hide", [hide_in_the_context, hide_in_the_cause, hide_in_a_group])
def test_the_assertion_below_is_found(hide: Callable[[], NoReturn]) -> None:
    with pytest.raises(Flaky) as caught:
        hide()
    assert str(find_assertion(caught.value)) == "two cents"


def test_an_error_over_no_assertion_is_none() -> None:
    error = FlakyFailure("it passed this time", [ValueError("two cents"), RuntimeError("AssertionError")])
    error.__context__ = FlakyStrategyDefinition("Inconsistent data generation!")
    error.__context__.__context__ = error
    assert find_assertion(error) is None


def test_an_assertion_inside_hypothesis_is_none() -> None:
    with pytest.raises(AssertionError) as caught:
        choice_from_index(-1, "boolean", {"p": 0.5})
    assert find_assertion(caught.value) is None
