"""Schemas as real models publish them, cut to what the forms' tests need, and a model that answers by script."""

from __future__ import annotations

from typing import Any

from actors.reviews.forms.asking import Prompt

PHOTO = "https://files.walrus.site/photo.png"

# As Replicate writes them: references for choices, x-order for the form, an example as a default.
SDXL: dict[str, Any] = {
    "openapi": "3.0.2",
    "components": {
        "schemas": {
            "Input": {
                "type": "object",
                "title": "Input",
                "properties": {
                    "prompt": {
                        "type": "string", "title": "Prompt", "x-order": 0,
                        "default": "An astronaut riding a rainbow unicorn", "description": "Input prompt",
                    },
                    "negative_prompt": {
                        "type": "string", "title": "Negative Prompt", "x-order": 1, "default": "ugly, blurry",
                        "description": "Input Negative Prompt",
                    },
                    "image": {
                        "type": "string", "format": "uri", "title": "Image", "x-order": 2,
                        "description": "Input image for img2img or inpaint mode",
                    },
                    "mask": {
                        "type": "string", "format": "uri", "title": "Mask", "x-order": 3,
                        "description": "Input mask for inpaint mode. Black areas will be preserved",
                    },
                    "width": {"type": "integer", "default": 1024, "x-order": 4},
                    "aspect_ratio": {
                        "allOf": [{"$ref": "#/components/schemas/aspect_ratio"}], "default": "1:1", "x-order": 5,
                    },
                    "seed": {"type": "integer", "x-order": 6, "description": "Random seed. Leave blank to randomize"},
                    "lora_weights": {"type": "string", "format": "uri", "x-order": 7, "description": "LoRA weights"},
                },
            },
            "aspect_ratio": {"type": "string", "enum": ["1:1", "16:9", "9:16"], "title": "aspect_ratio"},
        }
    },
}  # fmt: skip

CHAT: dict[str, Any] = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string", "const": "m-1"},
        "messages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {
                    "role": {"type": "string", "enum": ["system", "user", "assistant"]},
                    "content": {"type": "string"},
                },
            },
        },
        "parameters": {
            "type": "object",
            "properties": {"temperature": {"type": "number", "default": 0.7}, "max_tokens": {"type": "integer"}},
        },
    },
}


def strings(*names: str, **more: dict[str, Any]) -> dict[str, Any]:
    """A schema of plain texts, and what else is named."""
    return {"type": "object", "properties": {**{name: {"type": "string"} for name in names}, **more}}


class ScriptedModel:
    """Answers what it was given, one answer a call, and counts; an error among them is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.prompts: list[Prompt] = []

    async def __call__(self, prompt: Prompt, schema: dict[str, Any]) -> Any:
        assert set(schema) >= {"type", "properties", "required"}
        self.prompts.append(prompt)
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer
