"""`hyvve verify`: what it takes in, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from actors.settings import ReadLimits
from cluster import processes
from cluster.brief import load
from cluster.demo import pdf
from cluster.directory import DataDirectory
from cluster.embedded import start_postgres, stop_postgres
from cluster.embedded_postgres import EmbeddedPostgres
from cluster.embedded_redis import EmbeddedRedis
from cluster.errors import BriefError, FolderError
from cluster.findings import report
from cluster.folder import printable, scan
from cluster.intake import take_in
from storage import campaigns, contributions, verifications
from storage.blobs.local import LocalBlobStore
from storage.clock import now
from storage.engine import Database, sync_engine
from storage.verifications import ResultRow, VerificationBatch, VerificationResult
from tests.cluster.conftest import clean_environment

BRIEF = """
title = "Breads"
description = "Recipes"
data_requirements = ["A recipe", "An oven temperature"]
quality_criteria = ["Clear English"]
"""


@pytest.fixture
def brief(tmp_path: Path) -> Path:
    file = tmp_path / "brief.toml"
    file.write_text(BRIEF)
    return file


def files(root: Path, **contents: bytes) -> Path:
    for name, data in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


# The brief


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ('title = ""', "title", "must not be blank"),
        ("title = 5", "title", "valid string"),
        ("description = 5", "description", "valid string"),
        ('data_requirements = "one text"', "data_requirements", "list of texts"),
        ("data_requirements = []", "data_requirements", "at least 1"),
        ('data_requirements = ["a", 7]', "data_requirements[1]", "valid string"),
        ('quality_criteria = ["a|||b"]', "quality_criteria[0]", "must not hold |||"),
        ('quality_criteria = ["a\\u0000"]', "quality_criteria[0]", "U+0000"),
        ('title = "safe \\u202E evil"', "title", "U+202E"),
        ("required_quality_score = 101", "required_quality_score", "less than or equal to 100"),
        ("required_quality_score = nan", "required_quality_score", "finite"),
        ('required_quality_score = "70"', "required_quality_score", "number"),
        ("unit_price = -1", "unit_price", "greater than or equal to 0"),
        ("unit_price = 99999999999999999999999", "unit_price", "less than or equal"),
        ('campaign_type = "Video"', "campaign_type", "'Text', 'Image' or 'default'"),
        ('titel = "x"', "titel", "did you mean title?"),
    ],
)
def test_a_faulty_brief_is_told_by_its_field(brief: Path, change: str, field: str, words: str) -> None:
    name = change.partition(" ")[0]
    kept = [line for line in BRIEF.splitlines() if not line.startswith(f"{name} ")]
    brief.write_text("\n".join([*kept, change]))
    with pytest.raises(BriefError) as caught:
        load(brief)
    assert caught.value.subject == field
    assert f"{field}: " in caught.value.message
    assert words in caught.value.message
    assert str(brief) in caught.value.message


def test_every_missing_field_of_a_brief_is_told_at_once(brief: Path) -> None:
    brief.write_text("")
    with pytest.raises(BriefError) as caught:
        load(brief)
    for name in ("title", "description", "data_requirements", "quality_criteria"):
        assert f"{name}: is missing" in caught.value.message


def test_what_is_no_toml_is_told_with_its_place(brief: Path, tmp_path: Path) -> None:
    brief.write_text('title = = "x"')
    with pytest.raises(BriefError, match=r"not valid TOML.*line 1"):
        load(brief)
    brief.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BriefError, match="not UTF-8"):
        load(brief)
    with pytest.raises(BriefError, match="No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(BriefError, match="Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(("written", "kept"), [("text", "Text"), ("IMAGE", "Image"), ("default", "default")])
def test_the_kind_of_campaign_is_read_however_it_is_spelt(brief: Path, written: str, kept: str) -> None:
    brief.write_text(f'campaign_type = "{written}"\n' + brief.read_text(encoding="utf-8"), encoding="utf-8")
    assert load(brief).campaign_type == kept


def test_a_brief_from_a_windows_editor_is_read(brief: Path) -> None:
    brief.write_bytes(b"\xef\xbb\xbf" + BRIEF.replace("\n", "\r\n").encode())
    assert load(brief).brief.data_requirements == ("A recipe", "An oven temperature")


# The folder


def test_a_folder_is_listed_by_path_with_its_contributors(tmp_path: Path) -> None:
    root = files(tmp_path / "in", b__2_txt=b"x", b__deep__er__1=b"x", a__1=b"", Z=b"x", _DS_Store=b"x")
    (root / ".DS_Store").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / ".git/config").write_bytes(b"x")
    found = scan(root)
    assert [(each.path, each.contributor) for each in found.files] == [
        ("Z", "folder"), ("_DS_Store", "folder"), ("a/1", "a"), ("b/2_txt", "b"), ("b/deep/er/1", "b"),
    ]  # fmt: skip
    assert found.hidden == 2


def test_links_and_pipes_are_not_followed_and_said(tmp_path: Path) -> None:
    root = files(tmp_path / "in", a__1=b"x")
    secret = files(tmp_path, secret=b"password") / "secret"
    (root / "a/link.txt").symlink_to(secret)
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    found = scan(root)
    assert [each.path for each in found.files] == ["a/1"]
    assert {path: reason.split(",")[0] for path, reason in found.skipped} == {
        "a/link.txt": "a symbolic link", "out": "a symbolic link", "loop": "a symbolic link",
        "pipe": "not a regular file (a device",
    }  # fmt: skip


def test_names_that_no_database_or_terminal_takes_are_written_as_escapes(tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "w\u202eallet").mkdir(parents=True)
    (root / "w\u202eallet" / "two\nlines\x1b[31m").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.txt")).write_bytes(b"x")
    found = scan(root)
    assert [each.path for each in found.files] == ["caf\\xe9.txt", "w\\u202eallet/two\\x0alines\\x1b[31m"]
    assert all(each.file.read_bytes() == b"x" for each in found.files)
    for each in found.files:
        each.path.encode()
    assert printable("família 漢 😀") == "família 漢 😀"


def test_folders_nested_deeper_than_calls_are_listed(tmp_path: Path) -> None:
    deepest = str(tmp_path / "deep")
    os.mkdir(deepest)  # noqa: PTH102  # makedirs recurses
    try:
        for _ in range(1_200):
            deepest += "/d"
            os.mkdir(deepest)  # noqa: PTH102
        for path in (f"{deepest}/last.txt", str(tmp_path / "deep/z.txt"), str(tmp_path / "deep/a.txt")):
            Path(path).write_text("words")
        found = scan(tmp_path / "deep")
        assert [(file.path, file.contributor) for file in found.files] == [
            ("a.txt", "folder"), (f"{'d/' * 1_200}last.txt", "d"), ("z.txt", "folder"),
        ]  # fmt: skip
        assert found.files[1].file.read_text() == "words"
    finally:
        # What removes folders in Python recurses as well.
        subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)


def test_a_folder_without_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no folder"):
        scan(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match="holds no files"):
        scan(tmp_path / "empty")
    file = files(tmp_path, file=b"x") / "file"
    with pytest.raises(FolderError, match="is a file"):
        scan(file)
    (tmp_path / "empty/link").symlink_to(file)
    with pytest.raises(FolderError, match="symbolic link"):
        scan(tmp_path / "empty")


# Taking in


async def test_what_is_too_large_is_refused_unread_and_the_others_go_on(
    database: Database, tmp_path: Path, brief: Path
) -> None:
    root = files(tmp_path / "in", a__1_txt=b"one", b__2_txt=b"two", c__4_txt=b"")
    huge = root / "b/huge.bin"
    with huge.open("wb") as opened:
        opened.truncate(1 << 40)  # a terabyte, on paper
    (root / "b/3.txt").write_bytes(b"three")
    folder = scan(root)
    (root / "b/3.txt").unlink()  # between listing and reading
    done: list[int] = []
    store = LocalBlobStore(tmp_path / "blobs", max_bytes=1000)
    intake = await take_in(database, store, folder, load(brief), max_bytes=1000, advance=done.append)
    assert sum(done) == len(folder.files) == 5
    paths = [folder.files[index].path for index in intake.indexes.values()]
    assert paths == ["a/1_txt", "b/2_txt", "c/4_txt"]
    assert {folder.files[i].path: e.code for i, e in intake.refused.items()} == {
        "b/huge.bin": "content_too_large", "b/3.txt": "unreadable",
    }  # fmt: skip
    async with database.read() as session:
        campaign = await campaigns.by_onchain_id(session, intake.onchain_campaign_id)
        rows = await contributions.of_campaign(session, intake.campaign_id, limit=10)
        errors = (await session.execute(select(VerificationResult))).scalars().all()
    assert (campaign.current_contributions, campaign.unique_contributions_count) == (3, 3)
    assert [row.contributor for row in rows] == ["a", "b", "c"]  # in the order of their paths
    assert sorted(row.error_code or "" for row in errors) == ["content_too_large", "unreadable"]


async def test_the_report_has_a_row_for_every_file_also_where_the_batch_ended_early(
    database: Database, tmp_path: Path, brief: Path
) -> None:
    root = files(tmp_path / "in", a__1=b"one two three", b__1=b"one two three", c__1=b"x" * 2000, d__1=b"late")
    folder = scan(root)
    asked = load(brief)
    store = LocalBlobStore(tmp_path / "blobs", max_bytes=1000)
    intake = await take_in(database, store, folder, asked, max_bytes=1000)
    assert intake.batch_id is not None
    first, second, _ = intake.indexes
    async with database.begin() as session:
        epoch = await verifications.take_over(session, intake.batch_id)
        assert epoch is not None
        common = {"campaign_id": intake.campaign_id, "reasoning": "so"}
        rows = [
            ResultRow(contribution_id=first, contributor="a", verdict="ACCEPT", score=90.0, **common,  # type: ignore[arg-type]
                      marks=[{"criterion": "accuracy", "value": 90, "reason": "r"}]),
            ResultRow(contribution_id=second, contributor="b", verdict="REJECT", **common,  # type: ignore[arg-type]
                      duplicate_of=first, duplicate_kind="exact", similarity=1.0),
        ]  # fmt: skip
        await verifications.write_results(session, intake.batch_id, epoch, rows)
        await verifications.finish(session, intake.batch_id, epoch, "cancelled")
    found = await report(
        database, folder, asked, intake, limits=ReadLimits(), seconds=1.0, finished_at=now(), version="0"
    )
    assert found.state == "cancelled"
    assert [(item.path, item.verdict, item.error_code, item.original) for item in found.items] == [
        ("a/1", "ACCEPT", None, None), ("b/1", "REJECT", None, 1), ("c/1", "ERROR", "content_too_large", None),
        ("d/1", "ERROR", "not_judged", None),
    ]  # fmt: skip
    assert found.items[0].preview is not None
    assert found.items[0].preview.text == "one two three"
    assert found.items[0].marks[0].value == 90


# The command, as people run it


class Stub:
    """The OpenAI-compatible stub as a process of its own: its address, and its end."""

    def __init__(self, latency_s: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stubs.openai", "--port", "0", "--latency", str(latency_s)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def stub(request: pytest.FixtureRequest) -> Iterator[Stub]:
    stub = Stub(request.param)
    yield stub
    stub.stop()


def command(stub: Stub | None, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """`hyvve verify …` with an environment of its own."""
    environ = clean_environment(HYVVE_CPUS="2", COLUMNS="100")
    if stub is not None:
        environ |= {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "stub", "HYVVE_SCORER_MODEL": "stub-model"}
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "verify", *map(str, arguments)],
        cwd=cwd, env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def assert_nothing_left(data_dir: Path) -> None:
    directory = DataDirectory.at(data_dir)
    assert processes.leftovers(directory.root) == []
    assert EmbeddedPostgres(directory).process() is None
    assert EmbeddedRedis(directory).process() is None


@pytest.mark.cluster
@pytest.mark.parametrize("stub", [0.0], indirect=True)
def test_a_folder_is_verified_and_what_was_started_is_stopped(
    stub: Stub, data_dir: Path, tmp_path: Path, brief: Path
) -> None:
    text = b"Mix flour and water, knead for ten minutes and bake the bread at 220 degrees for half an hour."
    root = files(tmp_path / "in", ann__a_txt=text, bob__b_txt=text, bob__empty_txt=b"", loose_md=b"# A short note")
    (root / "ann/c.pdf").write_bytes(pdf.document("Knead the dough and wait for it to rise."))
    (root / "ann/page.csv").write_bytes(pdf.document("This is no table."))
    (root / "brief.toml").write_text(BRIEF)
    arguments = (root, "--brief", root / "brief.toml", "--scorer", "openai", "--json", "--data-dir", data_dir)
    process = command(stub, *arguments, cwd=tmp_path)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    outcome = json.loads(out)
    assert outcome["state"] == "completed"
    assert outcome["files"] == 6  # the brief inside the folder is none of them
    assert outcome["verdicts"] == {"ACCEPT": 3, "REVIEW": 0, "REJECT": 1, "ERROR": 2}
    assert outcome["errors"] == {"empty_content": 1, "unsupported_type": 1}
    assert outcome["duplicates"] == 1
    page = (tmp_path / "hyvve-report/report.html").read_text()
    assert "bob/b_txt</bdi> <span" in page
    assert "\nknead" not in err
    assert_nothing_left(data_dir)


@pytest.mark.cluster
@pytest.mark.parametrize("stub", [5.0], indirect=True)
def test_ctrl_c_cancels_the_batch_and_stops_what_was_started(
    stub: Stub, data_dir: Path, tmp_path: Path, brief: Path
) -> None:
    root = tmp_path / "in"
    files(
        root,
        **{f"ann__{n}_txt": f"Recipe number {n}: knead, wait and bake for {n} minutes.".encode() for n in range(40)},
    )
    arguments = (root, "--brief", brief, "--scorer", "openai", "--data-dir", data_dir)
    process = command(stub, *arguments, cwd=tmp_path)
    directory = DataDirectory.at(data_dir)
    deadline = time.monotonic() + 120
    while _batches(directory) != ["running"]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, out + err
    assert "Interrupted" in err
    assert_nothing_left(data_dir)
    start_postgres(data_dir)
    try:
        assert _batches(directory) == ["cancelled"]
    finally:
        stop_postgres(data_dir)


def _batches(directory: DataDirectory) -> list[str]:
    """States of the data directory's batches; none while its database is not up."""
    engine = sync_engine(EmbeddedPostgres(directory).url)
    try:
        with engine.connect() as connection:
            return list(connection.execute(select(VerificationBatch.state)).scalars())
    except Exception:
        return []
    finally:
        engine.dispose()


def test_what_cannot_begin_says_why_in_one_sentence(tmp_path: Path, brief: Path) -> None:
    root = files(tmp_path / "in", a__1_txt=b"x")
    data = ("--data-dir", tmp_path / "d")
    started = {
        "no folder": command(None, tmp_path / "none", "--brief", brief, *data, cwd=tmp_path),
        "cannot be read": command(None, root, "--brief", tmp_path / "none.toml", *data, cwd=tmp_path),
        "OPENAI_API_KEY": command(None, root, "--brief", brief, "--scorer", "openai", *data, cwd=tmp_path),
        "HYVVE_SCORER='psychic'": command(None, root, "--brief", brief, "--scorer", "psychic", *data, cwd=tmp_path),
        "cannot be written": command(None, root, "--brief", brief, "--out", brief, *data, cwd=tmp_path),
    }
    for words, process in started.items():
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1, (words, out, err)
        assert words in err
        assert "Traceback" not in err
    assert not (tmp_path / "d/postgres").exists()
