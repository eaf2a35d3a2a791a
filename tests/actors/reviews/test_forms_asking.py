"""Forms with a real client of a language model: what it is told, what it costs, and what a poor answer does."""

from collections.abc import AsyncIterator

import orjson
import pytest
from pydantic import SecretStr

from actors.agents.llms.catalogue import LLMCatalogue
from actors.agents.llms.prices import Usage
from actors.providers.models import Attachment
from actors.reviews.forms.asking import asked_by
from actors.reviews.forms.form import make_form
from actors.reviews.forms.models import FormRequest
from actors.settings import LLMProviderSettings, LLMSettings
from tests.actors.reviews.model_schemas import SDXL
from tests.stubs import openai
from tests.stubs.openai import OpenAIStub

REQUEST = FormRequest(
    prompt="a fox, seed 42", attachments=(Attachment(ref="https://a.b/1.png"), Attachment(ref="https://a.b/2.png"))
)


@pytest.fixture
async def far() -> AsyncIterator[tuple[OpenAIStub, LLMCatalogue]]:
    async with OpenAIStub() as stub:
        reach = LLMProviderSettings(base_url=stub.base_url, api_key=SecretStr("k-1"))
        catalogue = LLMCatalogue(LLMSettings(openai=reach, prices=("gpt-x=1/4/0.5",)))
        yield stub, catalogue
        await catalogue.close()


async def test_a_catalogues_model_fills_a_form_in_two_calls_whose_usage_is_told(
    far: tuple[OpenAIStub, LLMCatalogue],
) -> None:
    stub, catalogue = far
    classes = {"classes": [{"path": "$.prompt", "class": "CONTENT", "prompt": "What should be painted?"}]}
    values = {"placed": [{"file": 0, "path": "$.mask"}], "values": [{"path": "$.seed", "value": 42}]}
    stub.script += [
        openai.completion(orjson.dumps(classes).decode()),
        openai.completion(f"```json\n{orjson.dumps(values).decode()}\n```"),
    ]
    used: list[Usage] = []
    form = await make_form(SDXL, REQUEST, ask=asked_by(catalogue.llm("gpt-x"), on_usage=used.append))
    assert form.payload == {
        "prompt": "a fox, seed 42", "image": "https://a.b/2.png", "mask": "https://a.b/1.png", "seed": 42,
        "negative_prompt": "ugly, blurry", "width": 1024, "aspect_ratio": "1:1",
    }  # fmt: skip
    assert form.fields[0].prompt == "What should be painted?"
    assert form.llm_calls == len(stub.calls) == len(used) == 2
    assert '"additionalProperties": false' in stub.calls[0].text


async def test_a_model_that_answers_no_json_or_is_down_leaves_the_form_to_the_rules(
    far: tuple[OpenAIStub, LLMCatalogue],
) -> None:
    stub, catalogue = far
    stub.script += [openai.completion("I would rather not."), openai.error(400, "bad request")]
    form = await make_form(SDXL, REQUEST, ask=asked_by(catalogue.llm("gpt-x")))
    assert form.payload == (await make_form(SDXL, REQUEST)).payload
    assert sum("no model answered" in note for note in form.notes) == 2
