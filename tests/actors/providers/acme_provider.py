"""A provider as somebody else writes it: one file. `test_registry.py` packs it into a wheel and installs it."""

from __future__ import annotations

from typing import ClassVar

import aiohttp

from actors.errors import ProviderAnswerError, UnknownModelError
from actors.providers.base import AIProvider
from actors.providers.faults import of_status
from actors.providers.files import data_uri, sent
from actors.providers.models import Capabilities, ModelInfo, Payload, ProviderResponse, Usage

SCHEMA = {
    "type": "object",
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "length": {"type": "integer", "minimum": 1, "maximum": 1000},
        "image": {"type": "string", "format": "uri"},
    },
}


class AcmeProvider(AIProvider):
    name: ClassVar[str] = "acme"
    key_setting = "HYVVE_PROVIDER_KEYS (acme=…)"
    featured = ("acme/poet",)

    def describe(self) -> Capabilities:
        models = tuple(ModelInfo(id=model, operation="write") for model in self.offered())
        return Capabilities(
            provider=self.name, available=True, operations=("write",), models=models, idempotent=True, cancellable=False
        )

    async def look_up(self, model: str, operation: str | None) -> ModelInfo:
        if model not in self.offered() or operation not in (None, "write"):
            raise UnknownModelError(f"Acme has no model {model[:100]!r}", subject=model[:100])
        return ModelInfo(id=model, operation="write", input_schema=SCHEMA, prices=self.prices.of(model))

    async def call(self, payload: Payload, *, idempotency_key: str | None) -> ProviderResponse:
        model = await self.model(payload.model, payload.operation)

        async def inline(file: object) -> str:
            return data_uri(file)  # type: ignore[arg-type]  # a `File`, which a stranger need not know

        value = await sent(payload.input, self.file_paths(payload, model), inline, self.files)
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": idempotency_key or ""}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.reach.base_url}/write", json=value, headers=headers) as answer,
        ):
            body = await answer.read()
            if answer.status != 200:
                raise of_status(self.name, answer.status, body, answer.headers, model=payload.model)
            found = await answer.json()
        if not isinstance(found, dict) or not isinstance(found.get("text"), str):
            raise ProviderAnswerError("Acme's answer has no text", subject=payload.model)
        return ProviderResponse(
            provider=self.name,
            model=payload.model,
            operation="write",
            id=found["id"],
            text=found["text"],
            output=found["text"],
            refusal=found.get("refusal"),
            usage=Usage(seconds=1.0, cost_micro_usd=self.prices.of_seconds(payload.model, 1.0)),
        )
