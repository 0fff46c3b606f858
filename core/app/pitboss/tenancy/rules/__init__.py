"""Decisions of tenancy: what is wrong with a tenant's files, what differs from control, what a cell is told."""

from pitboss.tenancy.rules.directory import build_content, renew_snapshot
from pitboss.tenancy.rules.files import claims_of, find_clashes, find_tenant_problems, parse_files
from pitboss.tenancy.rules.plan import (
    diff_facts,
    facts_of,
    find_refusals,
    find_state_refusal,
    merge_record,
    record_from_files,
)
from pitboss.tenancy.rules.writing import file_from_record, render_folder, render_table

__all__ = [
    "build_content",
    "claims_of",
    "diff_facts",
    "facts_of",
    "file_from_record",
    "find_clashes",
    "find_refusals",
    "find_state_refusal",
    "find_tenant_problems",
    "merge_record",
    "parse_files",
    "record_from_files",
    "render_folder",
    "render_table",
    "renew_snapshot",
]
