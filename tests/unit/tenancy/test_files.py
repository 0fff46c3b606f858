"""What is said about a tenant's files: every fault at once, with file, key and reason."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.tenancy.contracts import (
    MAX_FILE_BYTES,
    MAX_FOLDER_BYTES,
    CellPlace,
    Offer,
    Problem,
    TenantFile,
    TenantFolder,
)
from pitboss.tenancy.errors import FolderExists, TenantFilesInvalid
from pitboss.tenancy.rules import (
    claims_of,
    find_clashes,
    find_tenant_problems,
    parse_files,
    render_folder,
    render_table,
)
from pitboss.tenancy.service import check_folder, write_folder

OFFER = Offer(cells={"eu-1": CellPlace("eu-1", "eu"), "br-1": CellPlace("br-1", "br")})
GOOD = """
slug = "aurora"
name = "Aurora"
public_id = "01a1fbe4-4666-757a-bf99-969a96f72ab2"
locality = "eu"
cell = "eu-1"
environment = "demo"
currencies = ["EUR", "JPY"]
packs = ["mt_mga"]
plugins = ["softswiss"]

[[brands]]
slug = "aurora"
name = "Aurora"
domains = ["aurora.localhost", "www.aurora.example"]
languages = ["en", "pt-BR"]
default_language = "en"
"""


def check(text: str, plugins: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """Return key and reason of every problem of a folder."""
    files = {"tenant.toml": text.encode()}
    files |= {f"plugins/{slug}.toml": table.encode() for slug, table in (plugins or {}).items()}
    folder, problems = parse_files("aurora", files)
    if folder is not None:
        problems += find_tenant_problems("aurora", folder.tenant, OFFER)
    return [(problem.key, problem.reason) for problem in problems]


def test_good_files_have_no_problem() -> None:
    assert check(GOOD, {"softswiss": "casino_id = 'a'"}) == []


def test_a_brand_may_name_the_only_pack_or_one_of_several() -> None:
    named = GOOD + 'pack = "mt_mga"\n'
    assert check(named) == []
    assert check(named.replace('packs = ["mt_mga"]', 'packs = ["br_spa", "mt_mga"]')) == []


def test_a_plugin_without_file_has_an_empty_table() -> None:
    folder, problems = parse_files("aurora", {"tenant.toml": GOOD.encode()})
    assert not problems
    assert folder is not None
    assert folder.plugins == {"softswiss": {}}


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [
        ('name = "Aurora"\np', 'name = "Aurora"\nnmae = "x"\np', "nmae", "unknown key; known are slug, name"),
        ('name = "Aurora"\np', 'name = ""\np', "name", "Expected str of length >= 1"),
        ('public_id = "01a1fbe4-4666-757a-bf99-969a96f72ab2"', 'public_id = "x"', "public_id", "Invalid UUID"),
        ('public_id = "01a1fbe4-4666-757a-bf99-969a96f72ab2"', "", "public_id", "missing"),
        ('currencies = ["EUR", "JPY"]', 'currencies = "EUR"', "currencies", "Expected array, got str"),
        ('currencies = ["EUR", "JPY"]', 'currencies = ["EUR", 7]', "currencies[1]", "Expected str, got int"),
        (
            'currencies = ["EUR", "JPY"]',
            'currencies = ["EUR", "XXX"]',
            "currencies[1]",
            "XXX; a code of ISO 4217 in capitals",
        ),
        ('currencies = ["EUR", "JPY"]', 'currencies = ["EUR", "EUR"]', "currencies[1]", "EUR is given 2 times"),
        ('currencies = ["EUR", "JPY"]', "currencies = []", "currencies", "at least one is needed"),
        ('environment = "demo"', 'environment = "dev"', "environment", "'dev'; known are demo, production"),
        ('slug = "aurora"\nname = "Aurora"\np', 'slug = "borealis"\nname = "Aurora"\np', "slug", "name of the folder"),
        ('slug = "aurora"\nname = "Aurora"\nd', 'slug = "A b"\nname = "Aurora"\nd', "brands[0].slug", "matching regex"),
        ('cell = "eu-1"', 'cell = "eu-9"', "cell", "unknown cell eu-9; known are br-1, eu-1"),
        ('cell = "eu-1"', 'cell = "br-1"', "locality", "cell br-1 lies in br, not in eu"),
        ('packs = ["mt_mga"]', 'packs = ["mt_mga", "mt_mga"]', "packs[1]", "mt_mga is given 2 times"),
        ('"en", "pt-BR"', '"en", "pt"', "brands[0].languages[1]", "unknown language pt; known are en, es, pt-BR"),
        ('default_language = "en"', 'default_language = "es"', "brands[0].default_language", "not among"),
        ('"aurora.localhost"', '"Aurora.localhost"', "brands[0].domains[0]", "is no host name"),
        ('"aurora.localhost"', '"localhost"', "brands[0].domains[0]", "is no host name"),
        ('"aurora.localhost"', '"aurora.localhost:80"', "brands[0].domains[0]", "is no host name"),
        (
            '"aurora.localhost"',
            '"www.aurora.example"',
            "brands[0].domains[1]",
            "given twice, first as brands[0].domains[0]",
        ),
        ("[[brands]]", "[brands]", "brands", "must be a list of tables: write [[brands]]"),
        (
            'packs = ["mt_mga"]',
            'packs = ["mt_mga", "br_spa"]',
            "brands[0].pack",
            "missing; a brand is under one of the tenant's packs: mt_mga, br_spa",
        ),
        (
            'default_language = "en"',
            'default_language = "en"\npack = "br_spa"',
            "brands[0].pack",
            "br_spa is not among the tenant's packs: mt_mga",
        ),
    ],
)
def test_a_fault_names_its_key_and_reason(old: str, new: str, key: str, reason: str) -> None:
    assert old in GOOD
    problems = check(GOOD.replace(old, new))
    assert [found for found, _ in problems] == [key]
    assert reason in problems[0][1]


def test_all_faults_of_shape_are_told_at_once() -> None:
    text = GOOD.replace('name = "Aurora"', "nmae = 1").replace('"eu-1"', "7").replace('"pt-BR"', "true")
    assert [key for key, _ in check(text)] == [
        "nmae",
        "name",
        "cell",
        "brands[0].nmae",
        "brands[0].name",
        "brands[0].languages[1]",
    ]


def test_all_faults_of_content_are_told_at_once() -> None:
    text = GOOD.replace('"JPY"', '"YPJ"').replace('"eu-1"', '"eu-9"').replace('"pt-BR"', '"pt"')
    assert [key for key, _ in check(text)] == ["cell", "currencies[1]", "brands[0].languages[1]"]


def test_a_plugin_file_that_nobody_lists_is_told() -> None:
    _, problems = parse_files("aurora", {"tenant.toml": GOOD.encode(), "plugins/other.toml": b""})
    assert problems == [Problem("aurora/plugins/other.toml", "", "tenant.toml does not list this plugin")]


def test_a_misplaced_file_is_told() -> None:
    _, problems = parse_files("aurora", {"tenant.toml": GOOD.encode(), "plugin/softswiss.toml": b""})
    assert [problem.file for problem in problems] == ["aurora/plugin/softswiss.toml"]


@pytest.mark.parametrize("content", [b"slug = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_what_is_not_toml_is_told(content: bytes) -> None:
    folder, problems = parse_files("aurora", {"tenant.toml": content})
    assert folder is None
    assert problems[0].file == "aurora/tenant.toml"
    assert problems[0].reason.startswith("not TOML: ")


def test_a_missing_tenant_file_is_told() -> None:
    assert parse_files("aurora", {}) == (None, [Problem("aurora/tenant.toml", "", "missing")])


def test_what_two_tenants_claim_is_told() -> None:
    own, twin = claims_of(GOOD.encode()), claims_of(GOOD.replace("www.aurora.example", "x.example").encode())
    problems = find_clashes("aurora", own, {"aurora": own, "twin": twin})
    assert [(problem.key, problem.reason) for problem in problems] == [
        ("public_id", "public_id 01a1fbe4-4666-757a-bf99-969a96f72ab2 is claimed by twin/tenant.toml too"),
        ("brands[0].domains[0]", "domain aurora.localhost is claimed by twin/tenant.toml too"),
    ]


@pytest.mark.parametrize("content", [b"\xff", b"brands = 7", b"brands = [7]", b"[[brands]]\ndomains = 7\n", b""])
def test_a_broken_neighbour_claims_nothing(content: bytes) -> None:
    assert claims_of(content) == {}


def test_neighbours_are_read_from_their_folders(tmp_path: Path) -> None:
    for slug in ("aurora", "twin"):
        (tmp_path / slug).mkdir()
        (tmp_path / slug / "tenant.toml").write_text(GOOD)
    folder, problems = check_folder(tmp_path, "aurora", OFFER)
    assert folder is not None
    assert {problem.key for problem in problems} == {"public_id", "brands[0].domains[0]", "brands[0].domains[1]"}


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert check_folder(tmp_path, "aurora", OFFER)[1] == [Problem("aurora/tenant.toml", "", "missing")]


def test_a_hidden_file_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "aurora" / ".cache").mkdir(parents=True)
    (tmp_path / "aurora" / "tenant.toml").write_text(GOOD)
    (tmp_path / "aurora" / ".cache" / "x").write_text("")
    (tmp_path / "aurora" / ".swap").write_text("")
    assert check_folder(tmp_path, "aurora", OFFER)[1] == []


PLAIN = st.recursive(
    st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(st.dictionaries(st.text(), PLAIN, max_size=6))
def test_a_table_that_is_written_is_read_again(table: dict[str, Any]) -> None:
    assert tomllib.loads(render_table(table)) == table


def test_a_folder_that_is_written_is_read_again() -> None:
    folder = TenantFolder(
        msgspec.convert(tomllib.loads(GOOD.replace('["softswiss"]', '["softswiss", "hub88"]')), TenantFile),
        {
            "softswiss": {"casino_id": 'a"b\\', "api_secret": {"secret": "name"}, "deep": {"a": {"b": [1, 2]}}},
            "hub88": {},
        },
        {"minimum_age_years": 21, "licences": {"mt_mga": {"bonus_allowed": False}}},
        {"brands": {"aurora": {"colour": "#0b6e4f", "logo": "a.png", "names": {"es": "Sol"}}}},
        {"a.png": b"\x89PNG"},
    )
    read, problems = parse_files("aurora", render_folder(folder))
    assert problems == []
    assert read == folder


def tell(tenants_dir: Path) -> list[str]:
    return [str(problem) for problem in check_folder(tenants_dir, "aurora", OFFER)[1]]


@pytest.fixture
def aurora(tmp_path: Path) -> Path:
    """A tenant's folder without a fault, and beside it a file that is none of its business."""
    (tmp_path / "secret.toml").write_text('key = "canary"')
    folder = tmp_path / "tenants/aurora"
    (folder / "plugins").mkdir(parents=True)
    (folder / "theme").mkdir()
    (folder / "tenant.toml").write_text(GOOD)
    assert tell(folder.parent) == []
    return folder


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("policy.toml", "../../secret.toml"),
        ("theme/logo.png", "/etc/hostname"),
        ("plugins/softswiss.toml", "../../../secret.toml"),
        ("theme/deep", "../../.."),
    ],
)
def test_a_link_that_leads_out_is_not_followed(aurora: Path, name: str, target: str) -> None:
    (aurora / name).symlink_to(target)
    assert tell(aurora.parent) == [f"aurora/{name}: leads out of the folder"]


def test_a_link_within_the_folder_is_followed(aurora: Path) -> None:
    (aurora / ".data").mkdir()
    (aurora / ".data/policy.toml").write_text("minimum_age_years = 21")
    (aurora / "policy.toml").symlink_to(".data/policy.toml")
    folder, problems = check_folder(aurora.parent, "aurora", OFFER)
    assert problems == []
    assert folder is not None
    assert folder.policy == {"minimum_age_years": 21}


def test_what_is_no_file_is_named_and_not_read(aurora: Path) -> None:
    (aurora / "theme/circle.png").symlink_to("circle.png")
    (aurora / "theme/nowhere.png").symlink_to("gone.png")
    (aurora / "theme/folder.png").symlink_to("../plugins")
    os.mkfifo(aurora / "policy.toml")
    assert tell(aurora.parent) == [
        "aurora/policy.toml: is no plain file",
        "aurora/theme/circle.png: leads to no file",
        "aurora/theme/folder.png: leads to no file",
        "aurora/theme/nowhere.png: is no plain file",
    ]


def test_a_huge_file_is_not_read(aurora: Path) -> None:
    with (aurora / "theme/logo.png").open("wb") as file:
        file.truncate(2**40)  # no byte of it is on the disk
    assert tell(aurora.parent) == [f"aurora/theme/logo.png: is larger than {MAX_FILE_BYTES // 1024} KiB"]


def test_many_files_are_too_much_together(aurora: Path) -> None:
    for number in range(MAX_FOLDER_BYTES // MAX_FILE_BYTES + 1):
        (aurora / f"theme/{number}.png").write_bytes(b"x" * (MAX_FILE_BYTES - 1))
    problem = tell(aurora.parent)[-1]
    assert problem.endswith(f"with it the folder is larger than {MAX_FOLDER_BYTES // 1024} KiB")


def test_a_file_of_another_kind_is_refused(aurora: Path) -> None:
    (aurora / "theme/logo.svg").write_text("<svg/>")
    (problem,) = tell(aurora.parent)
    assert problem.startswith("aurora/theme/logo.svg: no such file belongs here")


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_folder(tmp_path, "nova", {"tenant.toml": b"one", "theme/a.png": b"a"})
    with pytest.raises(FolderExists):
        write_folder(tmp_path, "nova", {"tenant.toml": b"two"})
    assert (tmp_path / "nova/tenant.toml").read_bytes() == b"one"
    (tmp_path / ".nova.new").mkdir()  # what an interruption left
    (tmp_path / ".nova.new/stale.toml").write_text("")
    write_folder(tmp_path, "nova", {"tenant.toml": b"two"}, replace=True)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "nova",
        "nova/tenant.toml",
    ]
    assert (tmp_path / "nova/tenant.toml").read_bytes() == b"two"


@pytest.mark.parametrize(
    "name", ["plugins/../../aurora/tenant.toml", "../aurora/tenant.toml", "theme/..", "/proc/pitboss.toml", "", "."]
)
def test_no_name_leads_a_file_out_of_the_folder(aurora: Path, name: str) -> None:
    tenants = aurora.parent
    before = sorted(tenants.rglob("*"))
    with pytest.raises(TenantFilesInvalid, match="leads out of the folder"):
        write_folder(tenants, "nova", {"tenant.toml": b"one", name: b"stolen"})
    assert sorted(tenants.rglob("*")) == before
    assert (aurora / "tenant.toml").read_text() == GOOD


def test_a_link_in_the_way_is_not_written_through(aurora: Path) -> None:
    (aurora.parent / ".nova.new").symlink_to("aurora")
    with pytest.raises(TenantFilesInvalid, match="leads out of the folder"):
        write_folder(aurora.parent, "nova", {"tenant.toml": b"stolen"})
    assert (aurora / "tenant.toml").read_text() == GOOD


def test_a_replacement_that_was_cut_off_loses_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path, "nova", {"tenant.toml": b"one"})
    (tmp_path / "nova").rename(tmp_path / ".nova.old")  # cut off here: the fresh folder is not in its place
    with pytest.raises(FolderExists):
        write_folder(tmp_path, "nova", {"tenant.toml": b"two"})
    assert (tmp_path / "nova/tenant.toml").read_bytes() == b"one"
    (tmp_path / "nova").rename(tmp_path / ".nova.old")
    (tmp_path / ".nova.new").write_bytes(b"no folder can be written here")
    with pytest.raises(OSError, match=r"\.nova\.new"):
        write_folder(tmp_path, "nova", {"tenant.toml": b"two"}, replace=True)
    assert (tmp_path / "nova/tenant.toml").read_bytes() == b"one"
