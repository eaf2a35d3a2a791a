"""The demo: a sample that is what it says, judged as it should be."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cluster.brief import load
from cluster.demo import check, sample
from cluster.errors import FolderError
from cluster.folder import printable, scan
from tests.cluster.conftest import clean_environment
from tests.cluster.test_verify import assert_nothing_left


def test_the_sample_is_the_same_on_every_run_and_holds_every_kind(tmp_path: Path) -> None:
    first = sample.write(tmp_path / "one")
    manifest = (tmp_path / "one/manifest.json").read_bytes()
    assert sample.write(tmp_path / "one") == first  # in its own place
    assert (tmp_path / "one/manifest.json").read_bytes() == manifest
    kinds = Counter(each.kind for each in first)
    assert len(first) >= 80
    assert kinds["good"] >= 25
    assert set(kinds) == set(sample.RIGHT)
    assert {each.path.rpartition(".")[2] for each in first} >= {"txt", "md", "pdf", "csv", "png", "jpg", "svg"}
    found = scan(tmp_path / "one/contributions")
    assert [each.path for each in found.files] == [printable(each.path) for each in first]
    load(tmp_path / "one/brief.toml")


def test_the_readme_shows_the_sample_as_it_is() -> None:
    """A newcomer compares what `make demo` prints with what the README says that it prints."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    first = sample.samples()
    assert f"judges {len(first)} sample files" in readme
    assert f"{len(first)} files of {len({each.path.split('/')[0] for each in first})} contributors" in readme
    for kind, count in Counter(each.kind for each in first).items():
        row = re.search(rf"^{re.escape(check.ABOUT[kind])} +(\d+)  (.+?)  +yes$", readme, re.MULTILINE)
        assert row, kind
        verdicts = {verdict: int(number) for number, verdict in re.findall(r"(\d+) ([A-Z]+)", row[2])}
        assert int(row[1]) == sum(verdicts.values()) == count
        assert set(verdicts) <= {verdict for each in first if each.kind == kind for verdict in each.right}


def test_a_copy_comes_after_its_original() -> None:
    """The earlier of two equal contents is the original, and earlier means first by path."""
    samples = sample.samples()
    places = {each.path: place for place, each in enumerate(samples)}
    copies = [each for each in samples if each.duplicate_of]
    assert len(copies) >= 12
    for each in copies:
        assert places[each.duplicate_of or ""] < places[each.path]


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "contributions").mkdir()
    (tmp_path / "contributions/mine.txt").write_text("keep me")
    with pytest.raises(FolderError, match="not an earlier sample"):
        sample.write(tmp_path)
    assert (tmp_path / "contributions/mine.txt").read_text() == "keep me"


@pytest.mark.cluster
def test_the_demo_judges_every_class_as_it_should(data_dir: Path) -> None:
    directory = data_dir.parent
    # It must be embedded whatever the environment says: these lead nowhere.
    environ = clean_environment(
        SQLALCHEMY_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", RAY_ADDRESS="127.0.0.1:1", HYVVE_CPUS="2",
        COLUMNS="120",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "cluster.demo", str(directory)],
        env=environ, capture_output=True, text=True, timeout=300, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    expected = {printable(each["path"]): each for each in json.loads((directory / "manifest.json").read_text())}
    with (directory / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["path"].removeprefix("'"): row for row in csv.DictReader(file)}
    assert rows.keys() == expected.keys()  # rows in = rows out
    wrong = {path: row["verdict"] for path, row in rows.items() if row["verdict"] not in expected[path]["right"]}
    assert wrong == {}
    accepted = Counter(expected[path]["kind"] for path, row in rows.items() if row["verdict"] == "ACCEPT")
    assert set(accepted) == {"good"}
    assert accepted["good"] >= 25
    for path, row in rows.items():
        original = expected[path]["duplicate_of"]
        assert row["duplicate_of"] == (printable(original) if original else ""), path
        assert (row["verdict"] == "ERROR") == (row["score"] == "" and row["error_code"] != ""), path  # never a score
    assert len(re.findall(r"\byes *$", done.stdout, re.MULTILINE)) == len(sample.RIGHT)
    assert "report.html" in done.stdout
    assert_nothing_left(data_dir)
