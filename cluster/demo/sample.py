"""The sample campaign: a brief and over a hundred contributions, good and bad, the same bytes on every run.

`python -m cluster.demo.sample DIR` writes

    DIR/brief.toml       what the campaign asks for
    DIR/contributions/   one folder per contributor, as `hyvve verify` takes them
    DIR/manifest.json    what each file is and which verdicts are right for it
"""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cluster.demo import bombs, copies, pdf, pictures
from cluster.errors import FolderError

DATA = Path(__file__).parent / "data"

Class = Literal[
    "good", "thin", "off_topic", "exact_duplicate", "near_duplicate", "corrupt", "empty", "hostile", "language", "image"
]

_NOT_PAID = ("REJECT", "REVIEW", "ERROR")
# Which verdicts are right for a class; a single file may narrow or widen them (`Sample.verdicts`).
RIGHT: Mapping[Class, tuple[str, ...]] = {
    "good": ("ACCEPT", "REVIEW"),
    "thin": ("REJECT", "REVIEW"),
    "off_topic": ("REJECT", "REVIEW"),
    "exact_duplicate": ("REJECT", "REVIEW"),
    "near_duplicate": ("REJECT", "REVIEW"),
    "corrupt": ("ERROR",),
    "empty": ("ERROR",),
    "hostile": _NOT_PAID,
    "language": ("REJECT", "REVIEW"),
    "image": ("REVIEW",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One file of the sample. `path` is relative to `contributions/`; `about` says what it is to a reader."""

    path: str
    data: bytes
    kind: Class
    about: str = ""
    verdicts: tuple[str, ...] = ()
    duplicate_of: str | None = None

    @property
    def right(self) -> tuple[str, ...]:
        return self.verdicts or RIGHT[self.kind]


def samples() -> list[Sample]:
    """Every file of the sample, sorted by path, which is also their order of submission."""
    found = [*_texts(), *_images(), *_broken(), *_bombs()]
    found += _copies({sample.path: sample for sample in found})
    found.sort(key=lambda sample: sample.path)
    paths = [sample.path for sample in found]
    assert len(set(paths)) == len(paths), "two samples have one path"
    return found


def write(directory: Path) -> list[Sample]:
    """Write the sample into `directory`, in place of an earlier one; answers what was written.

    Raises `FolderError` rather than replace what is not a sample.
    """
    contributions = directory / "contributions"
    if contributions.exists():
        if not (directory / "manifest.json").exists():
            raise FolderError(f"{contributions} exists and is not an earlier sample; name another folder")
        shutil.rmtree(contributions)
    found = samples()
    for sample in found:
        target = contributions / sample.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(sample.data)
    shutil.copyfile(DATA / "brief.toml", directory / "brief.toml")
    manifest = [
        {key: value for key, value in asdict(sample).items() if key not in ("data", "verdicts")}
        | {"right": sample.right}
        for sample in found
    ]
    (directory / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=True) + "\n")
    return found


def _data(name: str) -> dict[str, list[dict[str, Any]]]:
    with (DATA / name).open("rb") as file:
        return tomllib.load(file)


def _as_file(path: str, text: str) -> bytes:
    text = text.strip("\n") + "\n"
    return pdf.document(text) if path.endswith(".pdf") else text.encode()


def _texts() -> Iterator[Sample]:
    for name in ("recipes_a.toml", "recipes_b.toml"):
        for entry in _data(name)["recipe"]:
            yield Sample(path=entry["path"], data=_as_file(entry["path"], entry["text"]), kind="good")
    kinds: tuple[Class, ...] = ("thin", "off_topic", "language", "hostile")
    for name in ("poor.toml", "hostile.toml"):
        for key, entries in _data(name).items():
            kind = next(each for each in kinds if each == key)
            for entry in entries:
                about = entry.get("about") or entry.get("language", "")
                yield Sample(path=entry["path"], data=_as_file(entry["path"], entry["text"]), kind=kind, about=about)


def _images() -> Iterator[Sample]:
    yield Sample(path="amara_0x71c4/pita.jpg", data=pictures.jpeg(pictures.loaf(1, "round")), kind="image")
    yield Sample(path="dario_0x3b8a/altamura.jpg", data=pictures.jpeg(pictures.loaf(12, "round")), kind="image")
    yield Sample(path="elif_0xc0f7/simit.png", data=pictures.png(pictures.loaf(3, "ring")), kind="image")
    yield Sample(path="farid_0x18be/barbari.jpg", data=pictures.jpeg(pictures.loaf(2, "long")), kind="image")
    yield Sample(path="kofi_0x2cc8/tea_bread.png", data=pictures.png(pictures.loaf(4, "tin")), kind="image")
    yield Sample(path="rosa_0x64d8/chart.png", data=pictures.png(pictures.chart()), kind="off_topic")
    soft = pictures.blurred(pictures.loaf(21, "long"), 9)
    yield Sample(path="pavel_0x91f4/blurred.jpg", data=pictures.jpeg(soft), kind="image", about="out of focus",
                 verdicts=("REVIEW", "REJECT"))  # fmt: skip
    yield Sample(path="pavel_0x91f4/tiny.png", data=bombs.tiny_png(), kind="image", about="8 × 8 pixels",
                 verdicts=("REVIEW", "REJECT", "ERROR"))  # fmt: skip


def _broken() -> Iterator[Sample]:
    wallet = "tess_0x6e90/"
    whole_pdf = pdf.document("Malawach\n\nThis file lost its second half on the way.")
    whole_png = pictures.png(pictures.loaf(31, "round"))
    whole_jpeg = pictures.jpeg(pictures.loaf(32, "tin"))
    broken = {
        "half.pdf": (whole_pdf[:220], "cut off after 220 bytes"),
        "noise.pdf": (b"%PDF-1.7\n" + bombs.noise(1, 3000), "a PDF's first line, then noise"),
        "half.png": (whole_png[: len(whole_png) // 3], "a third of a picture"),
        "half.jpg": (whole_jpeg[: len(whole_jpeg) // 3], "a third of a picture"),
        "noise.txt": (bombs.noise(2, 4000), "noise"),
        "noise.jpg": (b"\xff\xd8\xff\xe0" + bombs.noise(3, 2000), "a JPEG's first bytes, then noise"),
    }
    for name, (data, about) in broken.items():
        yield Sample(path=wallet + name, data=data, kind="corrupt", about=about)
    empty = {
        "nothing.txt": (b"", "no byte at all"),
        "nothing.csv": (b"", "no byte at all"),
        "blank.txt": (b"  \n\n\t \n \xc2\xa0\n", "white space"),
        "blank.pdf": (pdf.of_pages([[]]), "one page without a word"),
    }
    for name, (data, about) in empty.items():
        yield Sample(path=wallet + name, data=data, kind="empty", about=about)


def _bombs() -> Iterator[Sample]:
    wallet = "victor_0xbad0/"
    only_error = ("ERROR",)
    hostile: dict[str, tuple[bytes, str, tuple[str, ...]]] = {
        "bomb.pdf": (bombs.expanding_pdf(150), "150 KB that expand to 150 MB", only_error),
        "bomb.txt": (bombs.zip_of_zeros(100), "a zip archive of 100 MB named as text", only_error),
        "bomb.png": (bombs.pixel_bomb(16_000), "a PNG of 256 million pixels", only_error),
        "200_pages.pdf": (bombs.long_pdf(200), "200 pages about a car park", ()),
        "picture.pdf": (pictures.png(pictures.loaf(41, "ring")), "a PNG named as PDF", ()),
        "setup.txt": (bombs.program(), "a program named as text", only_error),
        "page.csv": (pdf.document("Terms of use of a car park. Nothing to see."), "a PDF named as CSV", ()),
        "nul.txt": (b"Bread\x00\x00 with\x00 NUL bytes\x00 '; DROP TABLE campaigns; --\n", "NUL bytes in text", ()),
        "wall.txt": (b"bread" * 60_000, "300,000 letters without a space", ()),
    }
    for name, (data, about, verdicts) in hostile.items():
        yield Sample(path=wallet + name, data=data, kind="hostile", about=about, verdicts=verdicts)


def _copies(originals: Mapping[str, Sample]) -> Iterator[Sample]:
    for copy in copies.COPIES:
        data = copy.make(originals[copy.of].data)
        yield Sample(path=copy.path, data=data, kind=copy.kind, about=copy.about, duplicate_of=copy.of)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m cluster.demo.sample DIR")
    directory = Path(sys.argv[1])
    try:
        found = write(directory)
    except FolderError as error:
        raise SystemExit(error.message) from None
    print(f"{len(found)} contributions, brief.toml and manifest.json written to {directory}")  # noqa: T201 - its output


if __name__ == "__main__":
    main()
