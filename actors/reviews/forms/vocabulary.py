"""The words by which a model's fields are known. Whole words in the singular; see `words.py`."""

from __future__ import annotations

from actors.reviews.forms.models import FileKind

# What a file shows or holds. The head of a name ("input_image") or, before a carrier, its subject ("image_url").
FILES: dict[str, FileKind] = {
    **dict.fromkeys(
        ("image", "img", "photo", "photograph", "picture", "pic", "mask", "frame", "face", "selfie", "portrait",
     "drawing", "scribble", "screenshot", "garment", "swap", "poster", "thumbnail"), "image",
    ),
    **dict.fromkeys(
        ("audio", "speech", "song", "music", "sound", "recording", "vocal", "instrumental", "wav", "mp3", "melody"),
        "audio",
    ),
    **dict.fromkeys(("video", "clip", "movie", "footage", "mp4"), "video"),
    **dict.fromkeys(("document", "doc", "pdf"), "document"),
    **dict.fromkeys(("csv", "srt", "subtitle", "transcript"), "text"),
    **dict.fromkeys(("file", "attachment", "media", "upload", "asset"), "any"),
}  # fmt: skip
# Says how a file is handed over, not what it is.
CARRIERS = frozenset(
    {"url", "uri", "link", "path", "file", "base64", "b64", "64", "data", "src", "input", "upload", "bytes", "blob",
     "string"}
)  # fmt: skip

# A text that the work is about.
TEXTS = frozenset(
    {"prompt", "text", "input", "history", "query", "question", "message", "caption", "lyric", "sentence",
     "content", "context", "article", "paragraph", "passage", "body", "description", "story", "script",
     "topic", "subject", "transcript", "utterance", "instruction", "request", "task", "document", "code",
     "word", "brief", "headline", "dialogue", "claim", "premise", "hypothesis"}
)  # fmt: skip
# Before a text's word, these make it one that a model's author has an opinion on.
TEXT_QUALIFIERS = frozenset(
    {"negative", "neg", "n", "previous", "next", "system", "style", "prefix", "suffix", "extra", "additional",
     "developer", "assistant", "pre", "post", "default", "custom", "uncond", "initial", "seed", "background",
     "refiner", "trigger", "stop", "guidance", "undesired"}
)  # fmt: skip
# Has a good default, and a user may have words of their own.
HYBRIDS = frozenset(
    {"prefix", "suffix", "style", "tag", "genre", "persona", "tone", "theme", "mood", "title", "name",
     "author", "keyword", "label", "category", "instruction", "system", "character", "audience", "glossary",
     "hotword", "entity", "tagline", "preamble", "template", "hint", "effect", "emotion", "material", "place",
     "location", "concept", "attribute", "phrase", "class"}
)  # fmt: skip
# How the work is done. The head of a name.
CONFIGS = frozenset(
    {"size", "length", "len", "role", "pixel", "megapixel", "identifier", "module", "project", "coherence",
     "locator", "fps", "ratio", "format", "scale", "strength", "weight", "step", "seed", "width", "height",
     "resolution", "quality", "mode", "type", "version", "model", "profile", "preset", "scheduler", "sampler",
     "temperature", "penalty", "token", "count", "number", "num", "rate", "speed", "duration", "second",
     "threshold", "limit", "max", "min", "top", "k", "p", "n", "level", "factor", "language", "lang", "locale",
     "voice", "speaker", "codec", "bitrate", "dtype", "precision", "device", "tier", "checker", "safety",
     "tolerance", "filter", "moderation", "webhook", "callback", "endpoint", "timeout", "id", "key", "user",
     "lora", "checkpoint", "ckpt", "encoder", "decoder", "vae", "unet", "adapter", "engine", "backend",
     "provider", "method", "algorithm", "strategy", "policy", "option", "setting", "config", "configuration",
     "parameter", "param", "kwarg", "metadata", "tool", "choice", "effort", "verbosity", "stop", "sequence",
     "stream", "store", "include", "truncation", "logprob", "bias", "loop", "padding", "margin", "offset",
     "overlap", "window", "stride", "interval", "fraction", "percent", "percentage", "amount", "ref",
     "variant", "channel", "color", "colour", "background", "orientation", "direction", "position", "axis",
     "angle", "zoom", "motion", "bucket", "ext", "extension", "compression", "crf", "refine", "refiner",
     "upscaler", "upscale", "detector", "controlnet", "preprocessor", "preprocessing", "postprocessing",
     "cache", "batch", "beam", "granularity", "timestamp", "task", "unit", "gender", "accent", "pitch",
     "volume", "sensitivity", "guidance", "cfg", "eta", "sigma", "shift", "noise", "blur", "crop", "resize",
     "output", "return", "flag", "debug", "schema"}
)  # fmt: skip
# The first word of a name that sets something, whatever follows.
SETTERS = frozenset(
    {"num", "max", "min", "n", "is", "use", "enable", "disable", "skip", "with", "has", "should", "allow",
     "return", "include", "exclude", "do", "no", "apply", "keep", "force", "auto", "number", "total"}
)  # fmt: skip
# A URL of these is part of the set-up, or leads out: never a user's material.
SETUP_FILES = frozenset(
    {"lora", "weight", "model", "checkpoint", "ckpt", "webhook", "callback", "endpoint", "api", "proxy",
     "config", "return", "redirect", "output", "result", "base", "adapter", "embedding", "tokenizer", "hf",
     "civitai", "destination", "target_url", "replicate"}
)  # fmt: skip
# Files that go beside a main one. An attachment whose own name says so goes there, and others go there last.
COMPANIONS = frozenset(
    {"mask", "depth", "pose", "style", "reference", "ref", "control", "background", "end", "last", "start",
     "first", "tail", "target", "source", "swap", "garment", "face", "logo", "subtitle", "melody", "voice",
     "speaker", "before", "after", "normal", "canny", "scribble", "character", "product", "model", "driving",
     "redux", "subject"}
)  # fmt: skip

# Which field takes a user's words, the likeliest first.
MAIN_TEXTS = (
    "prompt", "text", "question", "query", "input", "instruction", "message", "lyric", "caption", "sentence",
     "description", "content", "topic", "subject", "task", "request", "story", "script",
)  # fmt: skip

# The usual names of fields for files, the likeliest first; the second rule of the cascade. Written without carriers at
# the end, numbers and plurals: `image_url`, `image2` and `images` are `image`.
COMMON: dict[FileKind, tuple[str, ...]] = {
    "image": ("image", "input_image", "img", "init_image", "source_image", "image_input", "photo", "picture",
     "start_image", "first_frame_image", "reference_image"),
    "audio": ("audio", "input_audio", "source_audio", "speech", "song", "music", "sound", "recording"),
    "video": ("video", "input_video", "source_video", "clip"),
    "document": ("document", "pdf", "doc", "input_document", "input_pdf"),
    "text": ("csv", "transcript", "subtitle"),
    "any": ("file", "input_file", "attachment", "media", "input_media", "upload", "asset"),
}  # fmt: skip
