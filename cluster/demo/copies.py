"""Copies among the sample: who took whose contribution, and what was changed to hide it."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from cluster.demo import pdf, pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """`path` is a copy of the contribution `of`, made by `make` from its bytes."""

    path: str
    of: str
    kind: Literal["exact_duplicate", "near_duplicate"]
    about: str
    make: Callable[[bytes], bytes]


def _same(data: bytes) -> bytes:
    return data


def _retitled(data: bytes) -> bytes:
    _, _, rest = data.decode().partition("\n")
    return f"MY OWN FAMILY RECIPE!!\n{rest}".encode()


def _few_words_changed(data: bytes) -> bytes:
    text = data.decode()
    changes = {
        "cheese": "curd cheese",
        "minutes": "min.",
        "dough": "pastry",
        "Stir together": "Mix",
        "large": "big",
        "My": "Our",
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    return text.encode()


def _upper_case_and_signed(data: bytes) -> bytes:
    return (data.decode().upper() + "\n\n(c) sam, all rights reserved\n").encode()


def _wrapped_anew(data: bytes) -> bytes:
    paragraphs = data.decode().split("\n\n")
    return "\n\n".join(textwrap.fill(paragraph, 60) for paragraph in paragraphs).encode()


def _without_last_paragraph(data: bytes) -> bytes:
    return data.decode().rstrip().rpartition("\n\n")[0].encode()


def _as_pdf(data: bytes) -> bytes:
    return pdf.document(data.decode())


def _picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _recompressed(data: bytes) -> bytes:
    return pictures.jpeg(_picture(data), quality=35)


def _smaller_png(data: bytes) -> bytes:
    return pictures.png(_picture(data).resize((480, 360), Image.Resampling.LANCZOS))


def _brighter(data: bytes) -> bytes:
    return pictures.jpeg(_picture(data).point(lambda value: min(255, int(value * 1.12) + 6)), quality=80)


COPIES = (
    Copy(path="rufus_0x1dab/pita.txt", of="amara_0x71c4/pita.txt", kind="exact_duplicate",
         about="the same bytes, another wallet", make=_same),
    Copy(path="rufus_0x1dab/best_rye.txt", of="bogdan_0x9e02/borodinsky.txt", kind="exact_duplicate",
         about="the same bytes under another name", make=_same),
    Copy(path="rufus_0x1dab/milk_bread.pdf", of="chiyo_0x55d1/shokupan.pdf", kind="exact_duplicate",
         about="the same PDF", make=_same),
    Copy(path="rufus_0x1dab/broa.csv", of="ines_0x4f1d/broa_de_milho.csv", kind="exact_duplicate",
         about="the same table", make=_same),
    Copy(path="sam_0x40e7/lavash.md", of="mira_0xb6f0/lavash.md", kind="exact_duplicate",
         about="the same bytes, another wallet", make=_same),
    Copy(path="sam_0x40e7/ring.png", of="elif_0xc0f7/simit.png", kind="exact_duplicate",
         about="the same picture", make=_same),
    Copy(path="rufus_0x1dab/injera_family.txt", of="hana_0xd2a9/injera.txt", kind="near_duplicate",
         about="a new first line", make=_retitled),
    Copy(path="rufus_0x1dab/pretzels.txt", of="greta_0x6a40/brezeln.txt", kind="near_duplicate",
         about="lines wrapped anew", make=_wrapped_anew),
    Copy(path="rufus_0x1dab/soda.pdf", of="nuala_0x0d9b/soda_bread.txt", kind="near_duplicate",
         about="the text as PDF", make=_as_pdf),
    Copy(path="sam_0x40e7/limpa_shouting.txt", of="jonas_0xe7c3/limpa.txt", kind="near_duplicate",
         about="in capitals, signed by the copier", make=_upper_case_and_signed),
    Copy(path="sam_0x40e7/khachapuri.txt", of="mira_0xb6f0/khachapuri.txt", kind="near_duplicate",
         about="a few words changed", make=_few_words_changed),
    Copy(path="sam_0x40e7/arepas_short.txt", of="lucia_0x8d35/arepas.txt", kind="near_duplicate",
         about="without its last paragraph", make=_without_last_paragraph),
    Copy(path="rufus_0x1dab/loaf_small.png", of="kofi_0x2cc8/tea_bread.png", kind="near_duplicate",
         about="the picture made smaller", make=_smaller_png),
    Copy(path="sam_0x40e7/pita_again.jpg", of="amara_0x71c4/pita.jpg", kind="near_duplicate",
         about="the picture compressed harder", make=_recompressed),
    Copy(path="sam_0x40e7/long_loaf.jpg", of="farid_0x18be/barbari.jpg", kind="near_duplicate",
         about="the picture made brighter", make=_brighter),
)  # fmt: skip
