"""Files that agents keep for their wallet, and what they make of many: the same files, the same bytes."""

from __future__ import annotations

import base64
import csv
import io
import zipfile
from typing import Any
from uuid import uuid4

import pytest

from actors.agents.tools.tool import ToolResult
from actors.settings import ToolSettings
from storage.blobs.walrus import WalrusBlobStore
from storage.fetch import ContentFetcher
from storage.settings import WalrusSettings
from tests.actors.agents.tools.bench import ALICE, Bench, png
from tests.actors.verification.documents import pdf
from tests.stubs.walrus import WalrusStub


async def storage(bench: Bench, **arguments: Any) -> ToolResult:
    return await bench.call("WalrusStorageTool", ALICE, **arguments)


async def stored(bench: Bench, data: bytes, name: str = "a.txt") -> str:
    result = await storage(bench, action="store", name=name, content=base64.b64encode(data).decode(), encoding="base64")
    assert result.error is None, result.content
    return str(result.content["blob_id"])


async def preprocessed(bench: Bench, operation: str, references: list[str], name: str, **more: Any) -> ToolResult:
    return await bench.call(
        "DataPreprocessorTool", ALICE, operation=operation, references=references, name=name, **more
    )


async def bytes_of(bench: Bench, result: ToolResult) -> bytes:
    assert result.error is None, result.content
    return await bench.workplace.store.get(result.content["blob_id"])


async def test_a_file_is_stored_read_and_listed(bench: Bench) -> None:
    first = await storage(bench, action="store", name="notes.txt", content="Grüße, 世界")
    second = await stored(bench, b"\x89PNG\xff\x00", "odd.bin")
    read = await storage(bench, action="read", blob_id=first.content["blob_id"])
    assert (read.content["text"], read.content["name"]) == ("Grüße, 世界", "notes.txt")
    odd = await storage(bench, action="read", blob_id=second)
    assert base64.b64decode(odd.content["base64"]) == b"\x89PNG\xff\x00"
    listed = await storage(bench, action="list", limit=1)
    [newest] = listed.content["files"]
    assert (newest["name"], newest["size"], newest["store"]) == ("odd.bin", 6, "local")
    assert listed.left_out
    rest = await storage(bench, action="list", after=newest["file_id"])
    assert [file["name"] for file in rest.content["files"]] == ["notes.txt"]


async def test_storing_the_same_again_is_one_file(bench: Bench) -> None:
    for _ in range(3):
        await storage(bench, action="store", name="notes.txt", content="the same")
    assert len((await storage(bench, action="list")).content["files"]) == 1


async def test_a_long_file_is_read_as_far_as_it_fits(bench: Bench) -> None:
    bench.limits = ToolSettings(max_result_chars=1_000)
    blob_id = await stored(bench, b"word " * 10_000)
    read = await storage(bench, action="read", blob_id=blob_id)
    assert len(read.text) < 1_500
    assert "50,000" in str(read.left_out)


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "store", "content": "x"},
        {"action": "store", "name": "../../etc/passwd", "content": "x"},
        {"action": "store", "name": "a.txt"},
        {"action": "store", "name": "a.bin", "content": "@@", "encoding": "base64"},
        {"action": "read"},
        {"action": "list", "after": "yesterday"},
        {"action": "delete", "name": "a.txt"},
    ],
)
async def test_what_cannot_be_meant_is_told(bench: Bench, arguments: dict[str, Any]) -> None:
    assert (await storage(bench, **arguments)).error == "tool_arguments"


async def test_a_file_past_the_stores_limit_is_refused_with_the_limit(bench: Bench) -> None:
    result = await storage(bench, action="store", name="big.txt", content="x" * (10 * 1024 * 1024 + 1))
    assert result.error == "blob_too_large"
    assert "10,485,760" in result.content["message"]


async def test_the_same_tool_keeps_files_on_walrus(bench: Bench) -> None:
    async with WalrusStub() as walrus:
        settings = WalrusSettings(publisher_url=walrus.url, aggregator_url=walrus.url)
        bench.workplace.store = WalrusBlobStore(settings)
        await bench.workplace.fetcher.close()
        bench.workplace.fetcher = ContentFetcher(
            bench.workplace.setup.storage.model_copy(update={"walrus": settings}), bench.workplace.store
        )
        result = await storage(bench, action="store", name="notes.txt", content="on Walrus")
        assert result.content["store"] == "walrus"
        read = await storage(bench, action="read", blob_id=result.content["blob_id"])
        assert read.content["text"] == "on Walrus"
        walrus.blobs.clear()
        await walrus.close()
        gone = await storage(bench, action="store", name="b.txt", content="more")
        assert gone.error == "blob_unavailable"
        await bench.workplace.store.close()


async def test_tables_are_merged_under_all_their_columns(bench: Bench) -> None:
    first = await stored(bench, b'name,age\nAda,36\n"Lovelace, A.",37\n', "a.csv")
    second = await stored(bench, "age;town\n41;Lima\n42;Köln\n".encode(), "b.csv")
    result = await preprocessed(bench, "merge_csv", [first, second], "all.csv")
    assert (result.content["rows"], result.content["columns"]) == (4, ["name", "age", "town"])
    rows = list(csv.DictReader(io.StringIO((await bytes_of(bench, result)).decode())))
    assert rows[1] == {"name": "Lovelace, A.", "age": "37", "town": ""}
    assert rows[3] == {"name": "", "age": "42", "town": "Köln"}


async def test_cells_past_the_header_are_left_out_and_counted(bench: Bench) -> None:
    blob_id = await stored(bench, b"a,b\n1,2\n3,4,5\n6,7,8\n", "a.csv")
    result = await preprocessed(bench, "merge_csv", [blob_id], "all.csv")
    assert "2 rows had more cells" in str(result.left_out)


async def test_texts_are_joined_in_order_pdfs_among_them(bench: Bench) -> None:
    first = await stored(bench, b"First text.")
    second = await stored(bench, pdf(["Second text of the page."]), "b.pdf")
    result = await preprocessed(bench, "join_texts", [first, second, first], "all.txt", separator="\n---\n")
    joined = (await bytes_of(bench, result)).decode()
    assert [part.strip() for part in joined.split("\n---\n")] == [
        "First text.", "Second text of the page.", "First text.",
    ]  # fmt: skip


async def test_pictures_are_packed_and_the_same_ones_give_the_same_file(bench: Bench) -> None:
    red, blue = png((200, 10, 10)), png((10, 10, 200))
    ids = [await stored(bench, red, "red.png"), await stored(bench, blue, "blue.png")]
    result = await preprocessed(bench, "pack_images", ids, "all.zip")
    with zipfile.ZipFile(io.BytesIO(await bytes_of(bench, result))) as archive:
        assert archive.namelist() == ["0001-red.png", "0002-blue.png"] == result.content["names"]
        assert archive.read("0002-blue.png") == blue
    again = await preprocessed(bench, "pack_images", ids, "all.zip")
    assert again.content == result.content


@pytest.mark.parametrize(
    ("operation", "data", "error"),
    [
        ("pack_images", b"just a text", "unsupported_type"),
        ("join_texts", png(), "unsupported_type"),
        ("join_texts", b"PK\x03\x04" + bytes(200), "unsupported_type"),
        ("merge_csv", png(), "unsupported_type"),
        ("merge_csv", b"a,a\n1,2\n", "unreadable"),
        ("merge_csv", b"\n \n", "unreadable"),
    ],
)
async def test_one_wrong_file_is_named_and_nothing_is_made(
    bench: Bench, operation: str, data: bytes, error: str
) -> None:
    good = await stored(bench, png() if operation == "pack_images" else b"a,b\n1,2\n3,4\n", "good")
    bad = await stored(bench, data, "bad")
    result = await preprocessed(bench, operation, [good, bad], "all")
    assert result.error == error
    assert bad in result.content["message"]
    assert "all" not in str((await storage(bench, action="list")).content)


async def test_limits_on_files_and_bytes_are_named(bench: Bench) -> None:
    bench.limits = ToolSettings(max_files=2, max_total_bytes=1_000)
    blob_id = await stored(bench, b"x" * 600)
    many = await preprocessed(bench, "join_texts", [blob_id] * 3, "all.txt")
    assert many.error == "tool_arguments"
    assert "limit of 2" in many.content["message"]
    large = await preprocessed(bench, "join_texts", [blob_id] * 2, "all.txt")
    assert large.error == "content_too_large"
    assert "1,000 bytes" in large.content["message"]


async def test_a_reference_to_nothing_is_named(bench: Bench) -> None:
    missing = str(uuid4())
    result = await preprocessed(bench, "join_texts", [missing], "all.txt")
    assert result.error == "not_found"
    assert missing in result.content["message"]
    assert (await preprocessed(bench, "join_texts", [], "all.txt")).error == "tool_arguments"


async def test_white_space_is_kept(bench: Bench) -> None:
    result = await storage(bench, action="store", name="poem.txt", content="  \n a poem \n")
    assert await bytes_of(bench, result) == b"  \n a poem \n"
