"""A comparison: several models asked the same, and a person who picks one answer without knowing whose it is.

    prepare → call 1 … call N → pick → pick/decision

Reviewers see the answers as A, B, … in an order that is drawn for this review and kept in its step, and nothing that
tells who gave them (see `blindness`); the record says who was who once it is decided. A model that gave no answer
cannot be picked. Each candidate is a request of its own, and a language model is asked twice at most about its form:
one that is filled in with less help than another would be compared unfairly.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from actors.errors import PayloadFaultsError, ProviderError, RejectedError, ReviewTimeoutError
from actors.kind_names import TEAM_COMPARISON
from actors.providers.base import AIProvider
from actors.providers.calling import called
from actors.providers.models import Payload, ProviderResponse
from actors.reviews.callback_rows import Told
from actors.reviews.forms.models import Form
from actors.reviews.question import Part, Question, ask, review_id_of
from actors.reviews.rows import Reviewed, keep
from actors.reviews.teams import composing, output_files
from actors.reviews.teams.blindness import CALL, CANDIDATE
from actors.reviews.teams.request import Candidate, Compared, ComparisonConfig, RunInput
from actors.reviews.teams.subjects import cut, file_part
from actors.reviews.teams.workshop import TeamWorkshop
from actors.runs.kinds import Kind
from actors.runs.retrying import DEFAULT, ONCE, RetryPolicy, classify, durable
from actors.runs.step import current

CHECKPOINT = "comparison"
_SIDES = "ABCD"
_MOST_FILES = 20

ComparisonGraph = StateGraph["ComparisonState", Any, Any, Any]


def _merged(present: dict[str, Any] | None, update: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(present or {}), **(update or {})}


class ComparisonState(TypedDict, total=False):
    """`payloads` and `answers` by the candidate's number, from "0"; an answer is a response or why there is none."""

    compared: dict[str, Any]
    candidates: list[dict[str, Any]]
    hitl_config: dict[str, Any]
    payloads: dict[str, Any]
    answers: Annotated[dict[str, Any], _merged]
    ended: dict[str, str] | None
    picked: dict[str, Any]


def kind_of(workshop: TeamWorkshop, *, retry: RetryPolicy = DEFAULT) -> Kind:
    """The kind whose steps work with this. A run's `spec` holds how many are compared."""

    def build(spec: dict[str, Any]) -> ComparisonGraph:
        return _Comparison(workshop, int(spec["candidates"])).build()

    return Kind(name=TEAM_COMPARISON, graph=build, result=result, retry=retry, questions=Told(Reviewed()))


async def drawn(count: int) -> dict[str, int]:
    """Which candidate is shown as A, B, …: drawn once in a step, and the same when the step is run again."""

    async def draw(_: str) -> list[int]:
        order = list(range(count))
        secrets.SystemRandom().shuffle(order)
        return order

    return dict(zip(_SIDES, await current().once("order", draw), strict=False))


def result(values: Mapping[str, Any]) -> dict[str, Any]:
    """The run's output: the pick, and now also who was who."""
    found: dict[str, Any] = values.get("picked") or {}
    return found


class _Comparison:
    def __init__(self, workshop: TeamWorkshop, count: int) -> None:
        self._workshop = workshop
        self._count = count

    def build(self) -> ComparisonGraph:
        graph: ComparisonGraph = StateGraph(ComparisonState)
        graph.add_node("prepare", self._prepare)
        graph.add_node("pick", self._pick)
        graph.add_node("pick/decision", durable(self._decide, retry=ONCE))
        graph.add_node("rejected", _rejected)
        calls = [f"{CALL}{number + 1}" for number in range(self._count)]
        for number, name in enumerate(calls):
            graph.add_node(name, self._calling(number))
            graph.add_edge("prepare", name)
        graph.add_edge(START, "prepare")
        graph.add_edge(calls, "pick")
        return graph

    async def _prepare(self, state: ComparisonState) -> dict[str, Any]:
        """What each is sent. Nothing is sent, and nothing paid, before all of them are ready."""
        current().progress(state="form_initialization")
        config = ComparisonConfig.model_validate(state["hitl_config"])
        payloads = {}
        for number in range(self._count):
            given = _input(state, number)
            provider = self._provider(given)
            model = await provider.model(given.model, given.operation)
            request = given.form_request()

            async def made(_: str, model: Any = model, request: Any = request) -> dict[str, Any]:
                asking = self._workshop.form_ask(config.form_llm)
                return (await composing.formed(model, request, ask=asking)).model_dump(mode="json")

            form = Form.model_validate(await current().once(f"form {number}", made))
            payload = composing.composed(provider, model, request, form)
            issues = await self._workshop.issues(provider, payload)
            if faults := [issue for issue in issues if issue.severity == "error"]:
                raise PayloadFaultsError(
                    f"candidate {number + 1} cannot be asked: {faults[0].field}: {faults[0].message}"[:1000],
                    subject=given.model,
                    errors=[issue.model_dump(mode="json") for issue in faults],
                )
            payloads[str(number)] = payload.model_dump(mode="json")
            keep("payload", f"{CANDIDATE}{number + 1}", payloads[str(number)])
        return {"payloads": payloads}

    def _calling(self, number: int) -> Any:
        async def call(state: ComparisonState) -> dict[str, Any]:
            current().progress(state="api_call")
            payload = Payload.model_validate(state["payloads"][str(number)])
            provider = self._workshop.providers.provider(payload.provider)
            try:
                response = await called(provider, payload, wakes=self._workshop.wakes)
            except ProviderError as error:
                if classify(error) != "permanent":
                    raise
                return {"answers": {str(number): {"error": {"code": error.code, "message": error.message[:500]}}}}
            return {"answers": {str(number): {"response": response.model_dump(mode="json")}}}

        return call

    async def _pick(self, state: ComparisonState) -> Command[Any]:
        current().progress(state="response_review", checkpoint=CHECKPOINT)
        answers = state["answers"]
        if not any("response" in each for each in answers.values()):
            faults = "; ".join(f"candidate {int(key) + 1}: {each['error']['message']}" for key, each in answers.items())
            raise ProviderError(f"no candidate gave an answer: {faults}"[:2000])
        for number in range(self._count):
            response = _response(answers[str(number)])
            if response is not None:
                keep(
                    "response",
                    f"{CANDIDATE}{number + 1}",
                    {"text": response.text, "files": [each.ref for each in response.files]},
                )
        return Command(goto="pick/decision")

    async def _decide(self, state: ComparisonState) -> Command[Any]:
        run_id = current().run_id
        config = ComparisonConfig.model_validate(state["hitl_config"])
        sides = await drawn(self._count)
        answers = {side: _response(state["answers"][str(number)]) for side, number in sides.items()}
        given = [side for side, response in answers.items() if response is not None]
        question = Question(
            review_id=review_id_of(run_id, CHECKPOINT),
            checkpoint=CHECKPOINT,
            title="Which answer is better?",
            subject={"choice": ""},
            shown=_parts(Compared.model_validate(state["compared"]), answers),
            edit_schema={
                "type": "object",
                "properties": {"choice": {"enum": given}},
                "required": ["choice"],
                "additionalProperties": False,
            },
            answers=("edit", "reject"),
            reviewers=config.reviewers,
            group=config.group,
            agreement=config.agreement,
            deadline=config.deadline(),
            blind=True,
        )
        outcome = ask(question)
        keep("decision", CHECKPOINT, outcome.model_dump(mode="json"))
        who = {side: _candidate(state, number) for side, number in sides.items()}
        keep("sides", CHECKPOINT, who)
        if outcome.answer != "edit" or outcome.payload is None:
            code = ReviewTimeoutError.code if outcome.answer == "fail" else RejectedError.code
            said = outcome.reason or "no reason was given"
            return Command(update={"ended": {"code": code, "message": said}}, goto="rejected")
        choice = str(outcome.payload["choice"])
        output_files.leave(answers[choice], store=self._workshop.store)
        picked = {
            "choice": choice,
            "picked": who[choice],
            "sides": who,
            "by": list(outcome.by),
            "response": state["answers"][str(sides[choice])]["response"],
            "errors": {
                side: state["answers"][str(number)]["error"]
                for side, number in sides.items()
                if "error" in state["answers"][str(number)]
            },
        }
        return Command(update={"picked": picked}, goto=END)

    def _provider(self, given: RunInput) -> AIProvider:
        return self._workshop.providers.provider(given.provider)


def _input(state: ComparisonState, number: int) -> RunInput:
    compared = Compared.model_validate(state["compared"])
    return compared.of(Candidate.model_validate(state["candidates"][number]))


def _candidate(state: ComparisonState, number: int) -> dict[str, Any]:
    told = {name: state["candidates"][number].get(name) for name in ("provider", "model", "operation")}
    return {"candidate": number + 1, **told}


def _response(answer: Mapping[str, Any]) -> ProviderResponse | None:
    return ProviderResponse.model_validate(answer["response"]) if "response" in answer else None


def _parts(compared: Compared, answers: Mapping[str, ProviderResponse | None]) -> tuple[Part, ...]:
    """What was asked and the answers; a file that only its provider has would tell who that is, and is not shown."""
    parts = [Part(kind="text", title="What was asked", content=cut(compared.prompt))] if compared.prompt else []
    choices = [
        {"key": side, "title": f"Answer {side}", "content": cut(response.text)}
        for side, response in answers.items() if response is not None
    ]  # fmt: skip
    parts.append(Part(kind="choices", title="The answers", content=choices))
    for side, response in answers.items():
        if response is None:
            parts.append(Part(kind="text", title=f"Answer {side}", content="It gave no answer, and cannot be picked."))
            continue
        for number, file in enumerate(response.files[:_MOST_FILES], 1):
            title = f"Answer {side}, file {number}"
            if file.ref is None:
                parts.append(Part(kind="text", title=title, content="(a file that could not be copied)"))
            else:
                parts.append(file_part(title, ref=file.ref, media_type=file.media_type))
    return tuple(parts)


async def _rejected(state: ComparisonState) -> Command[Any]:
    ended = state.get("ended") or {}
    kind = ReviewTimeoutError if ended.get("code") == ReviewTimeoutError.code else RejectedError
    raise kind(ended.get("message", "it was rejected"), subject=CHECKPOINT)
