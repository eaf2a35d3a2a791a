"""Words that speak of sex or nakedness plainly, in eleven languages; whole words only.

Words with a common harmless sense are left out, or stand in `_HARMLESS` with what makes them so: a net that flags every
cooking recipe for chicken breast is switched off within a day.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_WORD = re.compile(r"[^\W_]+(?:[@$!3410]+[^\W_]*)*")
_ACCENT = re.compile("[\u0300-\u036f]")
# Letters written as signs within a word of letters: "p0rn".
_SIGNS = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "@": "a", "$": "s", "!": "i"})


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = _listed(
    # English
    """porn porno pornography pornographic pornhub nsfw xxx hentai nude nudes nudity naked topless blowjob
    blowjobs handjob cumshot cumshots creampie deepthroat gangbang bukkake threesome orgy orgies masturbate
    masturbates masturbating masturbation ejaculate ejaculation orgasm orgasms dildo dildos bdsm fetish
    erotic erotica milf slut sluts whore whores fuck fucks fucked fucking fucker motherfucker cunt cunts
    pussy pussies tits titties boobs boobies genitals genitalia penis vagina vulva clitoris cum horny camgirl
    camgirls upskirt rape raped raping rapist incest bestiality pedophile pedophilia lolicon shotacon sextape
    sexting stripper strippers striptease """
    # Spanish, Portuguese, Italian
    """pornografia pornografico pornografica desnuda desnudas desnudo desnudos puta putas follar follando polla
    coño tetas mamada orgia nua nuas pelada peladas buceta caralho foder fodendo putaria nuda nude nudi cazzo
    figa troia pompino tette """
    # French
    """pornographie pornographique nue nues salope salopes pute putes bite chatte baiser branlette partouze
    sodomie """
    # German, Dutch
    """nackt nackte nackter nackten pornografie pornografisch ficken fickt gefickt fotze titten hure huren
    wichsen naakt neuken kut hoer hoeren """
    # Polish, Turkish, Russian
    """nago naga nagie kurwa pieprzyc ciplak sikis orospu порно порнография порнуха голая голые обнаженная
    обнажённая секс трахать трахает сиськи шлюха шлюхи член минет """
)
# What makes a word harmless, next to it: (words before, words after).
_HARMLESS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "naked": (
        _listed(""),
        _listed("eye eyes mole short shorts call option put cake bike truth juice wine flame"),
    ),
    "nude": (
        _listed("shade shades matte colour color"),
        _listed(
            "lipstick lipsticks heels pumps shade shades tone tones palette nails nail color colour colors colours "
            "makeup mouse beige pink"
        ),
    ),
    "penis": (_listed(""), _listed("envy")),
    "cum": (_listed(""), _listed("laude grano dig div ex")),
    "horny": (_listed(""), _listed("toad toads lizard goat")),
    "rape": (_listed("oilseed"), _listed("seed seeds oil crisis survivor survivors kit")),
    "pussy": (_listed(""), _listed("cat cats willow willows riot")),
    "stripper": (_listed("wire paint cable varnish wax"), _listed("")),
    "strippers": (_listed("wire paint cable varnish wax"), _listed("")),
    "tits": (_listed("great blue coal marsh willow crested tailed bearded"), _listed("")),
    "член": (
        _listed(""),
        _listed(
            "партии семьи команды союза совета группы комиссии комитета клуба экипажа правления корреспондент жюри "
            "общества"
        ),
    ),
}
# Words of one language that are everyday words of another: only where the text around is in theirs.
_OF_LANGUAGE: dict[str, frozenset[str]] = {
    "bite": _listed("ma sa ta grosse suce sucer une leur"),
    "chatte": _listed("ma sa ta lecher leche mouillee"),
    "baiser": _listed("te la me fort veux"),
    "nue": _listed("femme fille toute completement photo photos est entierement elle"),
    "nues": _listed("femmes filles photos"),
    "nua": _listed("mulher toda foto fotos garota completamente"),
    "nuas": _listed("mulheres fotos garotas"),
    "pelada": _listed("mulher foto garota completamente"),
    "peladas": _listed("mulheres fotos garotas"),
    "nuda": _listed("donna ragazza foto completamente"),
    "nudi": _listed("donne uomini corpi foto"),
    "figa": _listed("bella della sua tua"),
    "troia": _listed("sei una che quella"),
    "polla": _listed("mi su tu la chupar chupa"),
    "nago": _listed("kobieta dziewczyna zdjecie calkiem"),
    "naga": _listed("kobieta dziewczyna calkiem"),
    "nagie": _listed("kobiety dziewczyny zdjecia"),
    "kut": _listed("je haar mijn"),
    "hure": _listed("du eine die diese der"),
    "cum": frozenset(
        {"on", "her", "his", "face", "shot", "my", "inside", "dripping", "covered", "hot", "drinking", "swallow"}
    ),
    "pute": _listed("une sale fils grosse petite la de"),
}
# Scripts that write no spaces: words of two signs and more that are part of no other common word.
_UNSPACED = re.compile(
    "色情|裸体|裸體|裸照|全裸|淫秽|淫穢|情色|做爱|做愛|口交|手淫|强奸|強姦|春宫|無修正|エロ画像"
    "|(?<![ァ-ヺー])(?:エロ|ポルノ|セックス|ヌード|アダルトビデオ)(?![ァ-ヺー])|야동|포르노|섹스|누드|음란물"
)


def nsfw_words(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each word, in order."""
    tokens = [(_folded(found[0]), found.start(), found.end()) for found in _WORD.finditer(text)]
    for at, (word, start, end) in enumerate(tokens):
        # As written too: "coño" is no "cono".
        if word not in _WORDS and text[start:end].casefold() not in _WORDS:
            continue
        before = tokens[at - 1][0] if at else ""
        after = tokens[at + 1][0] if at + 1 < len(tokens) else ""
        harmless_before, harmless_after = _HARMLESS.get(word, (frozenset(), frozenset()))
        if before in harmless_before or after in harmless_after:
            continue
        company = _OF_LANGUAGE.get(word)
        if company is not None and not ({before, after} & company):
            continue
        yield start, end
    for found in _UNSPACED.finditer(text):
        yield found.span()


def _folded(word: str) -> str:
    plain = word.casefold()
    # Cyrillic letters come apart too, into others: й is no и.
    if not plain.isascii() and not any("\u0400" <= sign <= "\u04ff" for sign in plain):
        plain = _ACCENT.sub("", unicodedata.normalize("NFKD", plain))
    if plain.isalpha() or not any(sign.isalpha() for sign in plain):
        return plain
    return plain.translate(_SIGNS)
