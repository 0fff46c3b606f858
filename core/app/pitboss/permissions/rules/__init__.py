"""What a role may hold, how scopes narrow, how a request is decided, and what a set of roles gets wrong."""

from pitboss.permissions.rules.decisions import compile_grants, decide, list_live
from pitboss.permissions.rules.duties import compare_roles, find_faults, held_permissions, list_holders
from pitboss.permissions.rules.scopes import check_assignment, check_role, covers, describe_scope, lay_over
from pitboss.permissions.rules.templates import BUILT_IN, DUTY_RULES, TEMPLATES

__all__ = [
    "BUILT_IN",
    "DUTY_RULES",
    "TEMPLATES",
    "check_assignment",
    "check_role",
    "compare_roles",
    "compile_grants",
    "covers",
    "decide",
    "describe_scope",
    "find_faults",
    "held_permissions",
    "lay_over",
    "list_holders",
    "list_live",
]
