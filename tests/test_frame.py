"""The files around the code agree with each other: versions, pins, commands, links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
GROUPS = PYPROJECT["dependency-groups"]
HASHED = ("run", "build", "dev", "oracle")
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS]


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock(name), re.MULTILINE))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", [*HASHED, "torch"])
def test_locks_name_no_registry_and_no_machine(name: str) -> None:
    text = "\n".join(line for line in lock(name).splitlines() if not line.lstrip().startswith("#"))
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|\s@\s|(^|\s)/", text)


@pytest.mark.parametrize("name", HASHED)
def test_every_pin_has_a_hash(name: str) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n?", "", lock(name), flags=re.MULTILINE))
    loose = [
        entry for entry in entries if not re.match(r"[a-z0-9-]+==[^ ]+ .*\\\n +--hash=sha256:[0-9a-f]{64}\b", entry)
    ]
    assert entries
    assert not loose


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("run", PROJECT["dependencies"]),
        ("build", GROUPS["build"]),
        ("dev", PROJECT["dependencies"] + GROUPS["dev"]),
        ("oracle", GROUPS["oracle"]),
    ],
)
def test_locks_hold_what_pyproject_declares(name: str, declared: list[str]) -> None:
    pinned = pins(name)
    for requirement in map(Requirement, declared):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, f"{requirement}: make lock"


@pytest.mark.parametrize("name", ["build", "dev", "oracle"])
def test_locks_agree_on_versions(name: str) -> None:
    first, second = pins("run") | pins("dev"), pins(name)
    assert {key: second[key] for key in first.keys() & second.keys()} == {
        key: first[key] for key in first.keys() & second.keys()
    }


def test_every_dependency_is_used() -> None:
    names = {"opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml"}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "segspec").rglob("*.py"))
    for name in (Requirement(text).name for text in PROJECT["dependencies"]):
        assert re.search(rf"^\s*(import|from) {names.get(name, name)}\b", code, re.MULTILINE), name


def test_the_changelog_begins_with_the_version() -> None:
    released = re.findall(r"^## \[(\d\S*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released[0] == PROJECT["version"]


def test_hooks_call_the_targets_of_make() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    for hook in (hook for repository in config["repos"] for hook in repository["hooks"]):
        make, target = hook["entry"].split()
        assert make == "make"
        assert target in targets()


def test_ci_runs_what_the_readme_tells_people_to_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "\n$ make test\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^make test\b", script.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in DOCS if page.name != "README.md" and f"({page.name})" not in index] == []


def test_the_wheel_carries_the_shipped_networks(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    # Where no compiler is found: it would take a while, and would replace the library that this checkout runs with.
    bare = {**os.environ, "PATH": str(tmp_path), "CXX": ""}
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, env=bare)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [path for kind in ("specs", "solvers") for path in (ROOT / kind).rglob("*.yaml")]
    assert shipped
    assert {f"segspec/shipped/{path.relative_to(ROOT).as_posix()}" for path in shipped} <= names
    assert {"segspec/cli/__init__.py", "segspec/py.typed"} <= names
