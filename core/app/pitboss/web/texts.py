"""Words and numbers of the platform's own pages in its three languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pitboss.web import texts_quality, texts_retention, texts_subjects
from pitboss_sdk.money import decimal_from_minor, get_currency

LANGUAGES: Final = ("en", "es", "pt-BR")
_DEFAULT: Final = "en"

_WORDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "status": ("Status", "Estado", "Situação"),
    "control_title": ("Control plane", "Plano de control", "Plano de controle"),
    "cell_title": ("Cell", "Celda", "Célula"),
    "live": ("live", "en vivo", "ao vivo"),
    "stale": ("not updating", "sin actualizar", "sem atualização"),
    "updated": ("as of", "a las", "às"),
    "language": ("Language", "Idioma", "Idioma"),
    "calls_per_minute": ("Wallet calls a minute", "Llamadas de monedero por minuto", "Chamadas de carteira por minuto"),
    "open_jobs": ("Jobs waiting", "Tareas en espera", "Tarefas em espera"),
    "oldest_job": ("Oldest job", "Tarea más antigua", "Tarefa mais antiga"),
    "tenants": ("Tenants", "Operadores", "Operadores"),
    "cells": ("Cells", "Celdas", "Células"),
    "plugins": ("Plugins", "Complementos", "Plugins"),
    "processes": ("Processes", "Procesos", "Processos"),
    "rounds": ("Last rounds", "Últimas rondas", "Últimas rodadas"),
    "problems": ("Problems", "Problemas", "Problemas"),
    "no_tenants": (
        "No tenant is applied yet. Apply one with pitboss tenant apply.",
        "Aún no hay operadores. Aplique uno con pitboss tenant apply.",
        "Ainda não há operadores. Aplique um com pitboss tenant apply.",
    ),
    "no_cells": (
        "No cell is known yet. It appears with its first tenant.",
        "Aún no se conoce ninguna celda. Aparece con su primer operador.",
        "Nenhuma célula conhecida ainda. Ela aparece com o primeiro operador.",
    ),
    "no_plugins": ("No plugin is installed.", "No hay complementos instalados.", "Nenhum plugin instalado."),
    "no_processes": (
        "No process has announced itself.",
        "Ningún proceso se ha anunciado.",
        "Nenhum processo se anunciou.",
    ),
    "no_rounds": (
        "No round has been played yet.",
        "Aún no se ha jugado ninguna ronda.",
        "Nenhuma rodada foi jogada ainda.",
    ),
    "name": ("Name", "Nombre", "Nome"),
    "state": ("State", "Estado", "Situação"),
    "cell": ("Cell", "Celda", "Célula"),
    "domains": ("Domains", "Dominios", "Domínios"),
    "currencies": ("Currencies", "Monedas", "Moedas"),
    "locality": ("Locality", "Localidad", "Localidade"),
    "directory": ("Directory", "Directorio", "Diretório"),
    "version": ("Version", "Versión", "Versão"),
    "uptime": ("Up for", "Activo", "Ativo há"),
    "time": ("Time (UTC)", "Hora (UTC)", "Hora (UTC)"),
    "tenant": ("Tenant", "Operador", "Operador"),
    "game": ("Game", "Juego", "Jogo"),
    "mode": ("Mode", "Modo", "Modo"),
    "bet": ("Bet", "Apuesta", "Aposta"),
    "win": ("Win", "Premio", "Prêmio"),
    "balance": ("Balance", "Saldo", "Saldo"),
    "api_docs": ("API", "API", "API"),
    "state_active": ("active", "activo", "ativo"),
    "state_pending": ("pending", "pendiente", "pendente"),
    "state_suspended": ("suspended", "suspendido", "suspenso"),
    "state_closed": ("closed", "cerrado", "fechado"),
    "state_healthy": ("healthy", "sano", "saudável"),
    "state_unused": ("not used", "sin uso", "sem uso"),
    "state_failing": ("failing", "con fallos", "com falhas"),
    "state_running": ("running", "en marcha", "em execução"),
    "state_degraded": ("degraded", "degradado", "degradado"),
    "state_quarantined": ("quarantined", "en cuarentena", "em quarentena"),
    "state_open": ("open", "abierta", "aberta"),
    "state_finished": ("finished", "terminada", "encerrada"),
    "state_voided": ("voided", "anulada", "anulada"),
    "games": ("Games", "Juegos", "Jogos"),
    "no_games": (
        "No game can be played here yet.",
        "Aún no se puede jugar a ningún juego aquí.",
        "Ainda não há nenhum jogo para jogar aqui.",
    ),
    "adults_only": (
        "Only for people of {} years or more.",
        "Solo para personas de {} años o más.",
        "Somente para pessoas de {} anos ou mais.",
    ),
    "mode_cash": ("cash", "dinero", "dinheiro"),
    "mode_bonus": ("bonus", "bono", "bônus"),
    "mode_mixed": ("mixed", "mixto", "misto"),
    "mode_free_spin": ("free spin", "giro gratis", "giro grátis"),
}


_ALL: Final[Mapping[str, tuple[str, str, str]]] = {
    **_WORDS,
    **texts_subjects.WORDS,
    **texts_retention.WORDS,
    **texts_quality.WORDS,
}


def texts_of(language: str) -> dict[str, str]:
    """Return every text in `language`."""
    column = LANGUAGES.index(language)
    return {key: words[column] for key, words in _ALL.items()}


def choose_language(
    asked: str | None, accepted: str, otherwise: str = _DEFAULT, offered: Sequence[str] = LANGUAGES
) -> str:
    """Return the language that was asked for, else the best of an Accept-Language header, else `otherwise`.

    Only one of those that are `offered` is chosen.
    """
    for wanted in (asked or "", *_by_quality(accepted)):
        for language in offered:
            if wanted and language.lower().partition("-")[0] == wanted.lower().partition("-")[0]:
                return language
    return otherwise


def _by_quality(accepted: str) -> list[str]:
    ranked: list[tuple[float, str]] = []
    for part in accepted.split(",")[:20]:
        tag, _, parameter = part.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            quality = 0.0
        if quality > 0:
            ranked.append((quality, tag.strip()))
    return [tag for _, tag in sorted(ranked, key=lambda entry: -entry[0])]


def format_count(number: int, language: str) -> str:
    """Return a whole number with the groups of the language."""
    return f"{number:,}" if language == "en" else f"{number:,}".replace(",", ".")


def format_money(amount_minor: int, currency: str, language: str) -> str:
    """Return an amount with its currency code, exactly, with the separators of the language."""
    whole, _, fraction = decimal_from_minor(amount_minor, get_currency(currency).decimals).partition(".")
    sign, digits = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    point = "." if language == "en" else ","
    number = format_count(int(digits), language) + (f"{point}{fraction}" if fraction else "")
    return f"{sign}{number} {currency}"


def format_duration(seconds: int | None) -> str:
    """Return a span in its largest two units, short."""
    if seconds is None:
        return "–"
    for size, unit, below, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // below} {smaller}"
    return f"{seconds} s"
