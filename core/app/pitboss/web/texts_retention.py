"""Words of the page of retention in the three languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "retention": ("Retention", "Conservación", "Retenção"),
    "retention_schedule": ("How long records are kept", "Cuánto se conservan", "Por quanto tempo se guardam"),
    "retention_unknown": (
        "The law of this tenant is not known here, so nothing is purged.",
        "La ley de este tenant no se conoce aquí, así que no se elimina nada.",
        "A lei deste tenant não é conhecida aqui, por isso nada é eliminado.",
    ),
    "retention_nothing": (
        "Nothing is purged: no period was verified.",
        "No se elimina nada: ningún plazo fue verificado.",
        "Nada é eliminado: nenhum prazo foi verificado.",
    ),
    "retention_table": ("Table", "Tabla", "Tabela"),
    "retention_licence": ("Licence", "Licencia", "Licença"),
    "retention_period": ("Period", "Plazo", "Prazo"),
    "retention_forever": ("for ever", "para siempre", "para sempre"),
    "retention_years": ("years", "años", "anos"),
    "retention_from_creation": ("from creation", "desde su creación", "desde a criação"),
    "retention_from_account_closed": (
        "from the closing of the account",
        "desde el cierre de la cuenta",
        "desde o encerramento da conta",
    ),
    "retention_source": ("Who says so", "Quién lo dice", "Quem o diz"),
    "retention_before": ("May go before", "Se elimina lo anterior a", "Elimina-se o anterior a"),
    "retention_kept": ("Never destroyed by schedule", "Nunca se elimina por plazo", "Nunca se elimina por prazo"),
    "retention_holds": ("Legal holds", "Retenciones legales", "Bloqueios legais"),
    "retention_no_holds": ("Nothing is held.", "No hay nada retenido.", "Nada está bloqueado."),
    "retention_case": ("Case", "Expediente", "Processo"),
    "retention_what": ("What", "Qué", "O quê"),
    "retention_hold_1": ("a player", "un jugador", "um jogador"),
    "retention_hold_2": ("a table", "una tabla", "uma tabela"),
    "retention_hold_3": ("everything", "todo", "tudo"),
    "retention_placed": ("Placed", "Puesta", "Posto"),
    "retention_lifted": ("Lifted", "Levantada", "Levantado"),
    "retention_runs": ("Destruction", "Eliminación", "Eliminação"),
    "retention_no_runs": (
        "Nothing was ever proposed for destruction.",
        "Nunca se propuso eliminar nada.",
        "Nunca se propôs eliminar nada.",
    ),
    "retention_proposed": ("Proposed", "Propuesta", "Proposta"),
    "retention_approved": ("Approved", "Aprobada", "Aprovada"),
    "retention_done": ("Carried out", "Ejecutada", "Executada"),
    "retention_rows": ("Rows destroyed", "Filas eliminadas", "Linhas eliminadas"),
    "retention_of": ("of", "de", "de"),
}
"""In the order of `LANGUAGES`."""
