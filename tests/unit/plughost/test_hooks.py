"""Hooks: what is taken up, what is refused, and what happens to one that misbehaves."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from pitboss.plughost.contracts import AllowedPlugin, CellFile, Stage
from pitboss.plughost.runtime import Hooks, load_host
from pitboss.plughost.runtime import hooks as hooks_module
from pitboss_sdk.hookspecs import StatusFact, hookimpl

CELL = CellFile("eu-1", "eu", plugins=(AllowedPlugin("made-made", "==1.*"), AllowedPlugin("made-other", "==1.*")))


def plugin(declare: Any) -> type[Any]:
    return type("Plugin", (), {"status_facts": staticmethod(hookimpl(declare))})


def one(config: Any) -> tuple[StatusFact, ...]:
    return (StatusFact("Casino", str(config)),)


def hooks_with(**declared: Any) -> Hooks:
    hooks = Hooks()
    for slug, declare in declared.items():
        assert hooks.register(slug, plugin(declare)) == []
    return hooks


class Config(msgspec.Struct, frozen=True):
    name: str

    def __str__(self) -> str:
        return f"config of {self.name}"


def ask(hooks: Hooks, slug: str) -> tuple[StatusFact, ...]:
    return hooks.list_status_facts(slug, Config(slug))


def test_each_plugin_is_asked_alone_and_with_its_own_configuration() -> None:
    hooks = hooks_with(first=one, second=one)
    assert ask(hooks, "first") == (StatusFact("Casino", "config of first"),)
    assert ask(hooks, "second") == (StatusFact("Casino", "config of second"),)
    assert ask(hooks, "third") == ()


def test_a_hook_may_take_fewer_arguments() -> None:
    assert ask(hooks_with(made=lambda: (StatusFact("a", "b"),)), "made") == (StatusFact("a", "b"),)


def raise_error(config: Any) -> Any:
    raise RuntimeError(config)


def leave(config: Any) -> Any:
    raise SystemExit(config)


def too_many(config: Any) -> Any:
    return tuple(StatusFact(str(number), "x") for number in range(9))


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (raise_error, "status_facts raised RuntimeError"),
        (leave, "status_facts raised SystemExit"),
        (too_many, "status_facts raised ValidationError"),
        (lambda _config: None, "status_facts raised ValidationError"),
        (lambda _config: (StatusFact("", "x"),), "status_facts raised ValidationError"),
        (lambda _config: (StatusFact("x", object()),), "status_facts raised TypeError"),  # type: ignore[arg-type]
    ],
)
def test_one_that_misbehaves_is_named_and_not_asked_again_and_the_others_are(declare: Any, problem: str) -> None:
    asked: list[Any] = []

    def counting(config: Any) -> Any:
        asked.append(config)
        return declare(config)

    hooks = hooks_with(bad=counting, good=one)
    assert ask(hooks, "bad") == ()
    assert ask(hooks, "bad") == ()
    assert asked == [Config("bad")]
    assert dict(hooks.quarantined) == {"bad": problem}
    assert ask(hooks, "good") == (StatusFact("Casino", "config of good"),)


def test_one_that_dawdles_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_module, "SLOW_SECONDS", 0.05)

    def slow(config: Any) -> Any:
        time.sleep(0.1)
        return one(config)

    hooks = hooks_with(slow=slow)
    assert ask(hooks, "slow") != ()
    assert ask(hooks, "slow") == ()
    assert dict(hooks.quarantined) == {"slow": "status_facts took longer than 0.05 s"}


def test_a_hook_that_is_not_specified_takes_none_of_the_plugins_hooks() -> None:
    hooks = Hooks()
    made = plugin(one)
    made.status_fact = staticmethod(hookimpl(lambda: ()))
    (problem,) = hooks.register("made", made)
    assert "unknown hook 'status_fact'" in problem
    assert ask(hooks, "made") == ()
    assert hooks.register("other", plugin(one)) == []
    assert ask(hooks, "other") != ()


def test_an_argument_that_is_not_specified_is_refused() -> None:
    hooks = Hooks()
    (problem,) = hooks.register("made", plugin(lambda config, tenant: (config, tenant)))
    assert "tenant" in problem
    assert ask(hooks, "made") == ()


BAD = {
    "    @staticmethod\n    @hookimpl\n    async def status_facts(config): ...\n": "asynchronous or a generator",
    "    @staticmethod\n    @hookimpl\n    def status_facts(config):\n        yield\n": "asynchronous or a generator",
    "    @hookimpl\n    def status_facts(self, config): ...\n": "is not a static method",
    "    @classmethod\n    @hookimpl\n    def status_facts(cls, config): ...\n": "is not a static method",
    "    @staticmethod\n    @hookimpl(wrapper=True)\n    def status_facts(config):\n        return (yield)\n": "a wrapper",
    "    @staticmethod\n    @hookimpl\n    def status_fact(config): ...\n": "hook status_fact: there is no such hook",
    "    @staticmethod\n    @hookimpl\n    def status_facts(config, tenant): ...\n": "hooks: ",
}


@pytest.mark.parametrize(("hook", "problem"), BAD.items(), ids=range(len(BAD)))
def test_a_plugin_with_an_unfit_hook_is_not_loaded_and_the_others_are(
    install: Any, driver_text: str, hook: str, problem: str
) -> None:
    install("made", driver="from pitboss_sdk.hookspecs import hookimpl\n" + driver_text + hook)
    install("other")
    host = load_host(CELL)
    (candidate,) = [found for found in host.candidates if found.name == "made"]
    assert candidate.stage is Stage.ALLOWED
    assert problem in "; ".join(candidate.problems)
    assert "made" not in host.plugins
    assert "other" in host.plugins


def test_the_shipped_plugin_says_whose_it_is_and_warns_of_a_rotation_left_open() -> None:
    from pitboss_plugins.games.softswiss.config import SoftswissConfig
    from pitboss_sdk.secrets import SecretRef

    host = load_host(None)
    config = SoftswissConfig(casino_id="c-1", gateway_url="https://gateway.example/x", api_secret=SecretRef("a"))
    told = host.hooks.list_status_facts("softswiss", config)
    assert told == (StatusFact("Casino", "c-1"), StatusFact("Gateway", "gateway.example"))
    turning = SoftswissConfig(
        casino_id="c-1",
        gateway_url="https://gateway.example/x",
        api_secret=SecretRef("a"),
        previous_api_secret=SecretRef("b"),
    )
    facts = host.hooks.list_status_facts("softswiss", turning)
    assert facts
    assert [fact.label for fact in facts if fact.is_warning] == ["Signing secret"]
