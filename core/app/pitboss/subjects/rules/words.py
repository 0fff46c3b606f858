"""The words of an export's page in the three languages that players read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pitboss.kernel.classes import DataKind

LANGUAGES: Final = ("en", "es", "pt-BR")
Words = tuple[str, str, str]

WORDS: Final[Mapping[str, Words]] = {
    "title": ("Your data", "Sus datos", "Seus dados"),
    "intro": (
        "This is everything that we hold about you. Each table stands beside this page as a file for a spreadsheet, "
        "and all of it in data.json. Amounts are whole numbers in the smallest unit of the currency.",
        "Esto es todo lo que guardamos sobre usted. Cada tabla está junto a esta página como archivo para una hoja de "
        "cálculo, y todo en data.json. Los importes son números enteros en la unidad mínima de la moneda.",
        "Isto é tudo o que guardamos sobre você. Cada tabela está ao lado desta página como arquivo para planilha, e "
        "tudo em data.json. Os valores são números inteiros na menor unidade da moeda.",
    ),
    "withheld": (
        "Held and not shown, for the reason that data.json gives",
        "Guardado y no mostrado, por el motivo que indica data.json",
        "Guardado e não mostrado, pelo motivo que data.json informa",
    ),
    "nothing": ("Nothing is held here", "Aquí no se guarda nada", "Nada é guardado aqui"),
}

KIND_WORDS: Final[Mapping[DataKind, Words]] = {
    "key": ("which tenant", "qué operador", "qual operador"),
    "configuration": ("configuration", "configuración", "configuração"),
    "evidence": ("proof", "prueba", "prova"),
    "technical": ("technical", "técnico", "técnico"),
    "catalogue": ("catalogue", "catálogo", "catálogo"),
    "pseudonym": ("your number", "su número", "seu número"),
    "account": ("your account", "su cuenta", "sua conta"),
    "gaming": ("your play", "su juego", "seu jogo"),
    "financial": ("your money", "su dinero", "seu dinheiro"),
    "protection": ("your protection", "su protección", "sua proteção"),
    "personal": ("who you are", "quién es usted", "quem você é"),
    "opaque": ("words and documents", "textos y documentos", "textos e documentos"),
    "staff": ("who did it", "quién lo hizo", "quem o fez"),
    "credential": ("credential", "credencial", "credencial"),
}


def column_of(language: str) -> int:
    """Return where the words of a language stand; English for one that is not spoken here."""
    return LANGUAGES.index(language) if language in LANGUAGES else 0
