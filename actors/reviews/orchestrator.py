"""`HITLOrchestrator`: the graph of a provider's call that people review.

    form_initialization → information review → payload → payload review → api_call → response review

Each review is one or several checkpoints (see `checkpoints/`), and each checkpoint two steps: one that measures the run
and rules by its policy, and `NAME/decision`, which waits for a person where the ruling says so. What is measured, ruled
and decided stands in the run's record. An edit goes back to the first checkpoint of its place, so that everything that
goes on was let pass by every checkpoint as it goes on; what a person has let pass at a checkpoint is not asked there
again. A response goes back to the form. A rejection ends the run for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from actors.errors import (
    FileForbiddenError,
    PayloadFaultsError,
    ProviderError,
    ProviderKeyError,
    ProviderQuotaError,
    ProviderRefusedError,
    RejectedError,
    ReviewRoundsError,
    ReviewTimeoutError,
)
from actors.providers import schema
from actors.providers.calling import called
from actors.providers.models import Payload, ProviderResponse
from actors.reviews import policy
from actors.reviews.changes import changes
from actors.reviews.checkpoints.base import Checkpoint, Measured, Moment, Place
from actors.reviews.decisions import Answer, digest_of
from actors.reviews.forms.models import Form
from actors.reviews.policy import Policy, Ruling
from actors.reviews.question import Outcome, Question, ask, review_id_of
from actors.reviews.rows import keep
from actors.reviews.teams import composing, output_files, subjects
from actors.reviews.teams.request import HITLConfig
from actors.reviews.teams.state import (
    STATE_OF,
    TeamState,
    audit_of,
    config_of,
    form_of,
    input_of,
    issues_of,
    payload_of,
    request_of,
    response_of,
)
from actors.reviews.teams.workshop import TeamWorkshop
from actors.reviews.thresholds import Thresholds
from actors.runs.retrying import ONCE, durable
from actors.runs.step import current

FORM, PAYLOAD, CALL, REJECTED = "form_initialization", "payload", "api_call", "rejected"
# Of one checkpoint: past it somebody goes round in circles.
MAX_ROUNDS = 20
# How often a provider's refusal is brought back to a person.
MAX_REFUSALS = 5

Goto = Command[Any]
TeamGraph = StateGraph[TeamState, Any, Any, Any]


class HITLOrchestrator:
    """Builds the graph over these checkpoints, in their order within each place."""

    def __init__(self, workshop: TeamWorkshop, checkpoints: Sequence[Checkpoint]) -> None:
        self._workshop = workshop
        self._at: Mapping[Place, list[Checkpoint]] = {
            place: [each for each in checkpoints if each.stands == place] for place in STATE_OF
        }
        # Before the call the standard one comes first, so that others look at what is final; after it, it comes last.
        self._at["after_call"].sort(key=lambda each: each.name == "response_review")

    def build(self) -> TeamGraph:
        """To compile with or without a checkpointer."""
        graph: TeamGraph = StateGraph(TeamState)
        graph.add_node(FORM, self._form)
        graph.add_node(PAYLOAD, self._payload)
        graph.add_node(CALL, self._call)
        graph.add_node(REJECTED, _rejected)
        for several in self._at.values():
            for checkpoint in several:
                graph.add_node(checkpoint.name, self._measuring(checkpoint))
                graph.add_node(decision_step_of(checkpoint.name), self._deciding(checkpoint))
        graph.add_edge(START, FORM)
        return graph

    # Steps

    async def _form(self, state: TeamState) -> Goto:
        current().progress(state=FORM, checkpoint=None)
        given, config = input_of(state), config_of(state)
        provider = self._workshop.providers.provider(given.provider)
        model = await provider.model(given.model, given.operation)
        request = request_of(state)
        earlier = form_of(state) if "form" in state else None
        # One count for the run: a reviewer's words are still about the same request.
        asked = state.get("llm_calls", 0)

        async def made(_: str) -> dict[str, Any]:
            asking = self._workshop.form_ask(config.form_llm)
            form = await composing.formed(model, request, ask=asking, earlier=earlier, asked=asked)
            return form.model_dump(mode="json")

        # Once: a model that was asked about it is not asked again because a later part of the step failed.
        form = Form.model_validate(await current().once("form", made))
        keep("form", FORM, form.model_dump(mode="json"))
        suggested = composing.composed(provider, model, request, form)
        keep("payload", "suggested", suggested.model_dump(mode="json"))
        update: TeamState = {
            "form": form.model_dump(mode="json"),
            "llm_calls": asked + form.llm_calls,
            "suggested": suggested.input,
            "edited": False,
            "asked": None,
            "refusal": None,
        }
        return _go(state.get("after_form") or self._first("information"), update)

    async def _payload(self, state: TeamState) -> Goto:
        current().progress(state="payload_review", checkpoint=None)
        given = input_of(state)
        provider = self._workshop.providers.provider(given.provider)
        model = await provider.model(given.model, given.operation)
        payload = composing.composed(provider, model, request_of(state), form_of(state))
        issues = await self._workshop.issues(provider, payload)
        if any(issue.auto_fixable for issue in issues):
            payload = schema.repaired(payload, issues)
            issues = await self._workshop.issues(provider, payload)
        keep("payload", "composed", payload.model_dump(mode="json"))
        update: TeamState = {
            "payload": payload.model_dump(mode="json"),
            "issues": [issue.model_dump(mode="json") for issue in issues],
        }
        return _go(self._first("before_call"), update)

    async def _call(self, state: TeamState) -> Goto:
        current().progress(state=CALL, checkpoint=None)
        payload = payload_of(state)
        assert payload is not None
        provider = self._workshop.providers.provider(payload.provider)
        keep("payload", "sent", payload.model_dump(mode="json"))
        try:
            response = await called(provider, payload, wakes=self._workshop.wakes)
        except (ProviderRefusedError, PayloadFaultsError, FileForbiddenError) as error:
            refusal = _refusal(error)
            current().emit("provider.refused", refusal)
            current().progress(refusal=refusal)
            if not self._mendable(state, error):
                raise
            settled = {name: seen for name, seen in state.get("settled", {}).items() if name != "payload_review"}
            keep("refusal", payload.provider, refusal)
            back: TeamState = {"refusal": refusal, "refusals": state.get("refusals", 0) + 1, "settled": settled}
            return _go("payload_review", back)
        keep("response", "model", response.model_dump(mode="json"))
        audit = await provider.audit_response(response)
        update: TeamState = {
            "response": response.model_dump(mode="json"),
            "audit": audit.model_dump(mode="json"),
            "refusal": None,
        }
        return self._onward(self._first("after_call"), update, response)

    def _measuring(self, checkpoint: Checkpoint) -> Any:
        async def measure(state: TeamState) -> Goto:
            current().progress(state=STATE_OF[checkpoint.stands], checkpoint=checkpoint.name)
            moment = await self._moment(state)
            subject, edit_schema = subjects.subject_of(checkpoint.stands, moment)
            if state.get("settled", {}).get(checkpoint.name) == digest_of(subject):
                return self._onward(self._after(checkpoint), {}, moment.response)
            config = config_of(state)
            found = await checkpoint.measure(moment)
            ruling = _ruled(checkpoint, config, found)
            told = ruling.model_dump(mode="json")
            current().emit("review.ruled", told)
            keep("ruling", checkpoint.name, told)
            update: TeamState = {"rulings": [*state.get("rulings", []), told]}
            if not ruling.needs_person:
                return self._onward(self._after(checkpoint), update, moment.response)
            number = state.get("rounds", {}).get(checkpoint.name, 0) + 1
            if number > MAX_ROUNDS:
                said = f"{checkpoint.name} came back to a person more than {MAX_ROUNDS} times"
                return _go(REJECTED, {**update, "ended": {"code": ReviewRoundsError.code, "message": said}})
            answers: list[Answer] = ["approve", "reject"]
            if edit_schema is not None:
                answers.append("edit")
            if state.get("responses", 0) < config.max_responses:
                answers.append("respond")
            question = Question(
                review_id=review_id_of(current().run_id, checkpoint.name, number),
                checkpoint=checkpoint.name,
                title=checkpoint.title,
                subject=subject,
                shown=subjects.shown(checkpoint.stands, moment, ruling.findings),
                edit_schema=edit_schema,
                ruling=ruling,
                answers=tuple(answers),
                reviewers=config.reviewers,
                group=config.group,
                agreement=config.agreement,
                deadline=config.deadline(),
            )
            update["asked"] = question.model_dump(mode="json", by_alias=True)
            update["rounds"] = {**state.get("rounds", {}), checkpoint.name: number}
            return _go(decision_step_of(checkpoint.name), update)

        return measure

    def _deciding(self, checkpoint: Checkpoint) -> Any:
        async def decide(state: TeamState) -> Goto:
            number = state["rounds"][checkpoint.name]
            # Of this very run: one that was forked asks anew what the other was asked.
            own = review_id_of(current().run_id, checkpoint.name, number)
            question = Question.model_validate({**(state["asked"] or {}), "review_id": own})
            outcome = ask(question)
            told = {"checkpoint": checkpoint.name, **outcome.model_dump(mode="json")}
            keep("decision", checkpoint.name, told)
            update: TeamState = {"decisions": [*state.get("decisions", []), told], "asked": None}
            match outcome.answer:
                case "reject" | "fail":
                    return _go(REJECTED, {**update, "ended": _ended(checkpoint, outcome)})
                case "respond":
                    return _go(FORM, {**update, **self._responded(state, checkpoint, outcome)})
                case "edit":
                    assert outcome.payload is not None
                    keep("diff", checkpoint.name, [
                        each.model_dump(mode="json") for each in changes(question.subject, outcome.payload)
                    ])  # fmt: skip
                    edited = await self._edited(state, checkpoint, outcome.payload)
                    return _go(self._first(checkpoint.stands), {**update, **edited})
            passed = _settled(state, checkpoint, question.subject)
            update = {**update, "settled": passed, "refusal": None}
            return self._onward(self._after(checkpoint), update, response_of(state))

        # A person's answer is no failure that could be tried again.
        return durable(decide, retry=ONCE)

    # What a decision does

    async def _edited(self, state: TeamState, checkpoint: Checkpoint, value: dict[str, Any]) -> TeamState:
        """What a person's edit makes of the run. It is validated anew, by the provider too."""
        if checkpoint.stands == "after_call":
            response = response_of(state)
            assert response is not None
            given = subjects.edited_response(response, value)
            provider = self._workshop.providers.provider(given.provider)
            audit = await provider.audit_response(given)
            keep("response", "edited", given.model_dump(mode="json"))
            subject, _ = subjects.response_subject(given, None)
            return {
                "response": given.model_dump(mode="json"),
                "audit": audit.model_dump(mode="json"),
                "settled": _settled(state, checkpoint, subject),
            }
        asked = input_of(state)
        provider = self._workshop.providers.provider(asked.provider)
        model = await provider.model(asked.model, asked.operation)
        form = await composing.rejudged(form_of(state), model, value)
        update: TeamState = {"form": form.model_dump(mode="json"), "edited": True, "refusal": None}
        if checkpoint.stands == "information":
            return {**update, "settled": _settled(state, checkpoint, value)}
        before = payload_of(state)
        assert before is not None
        payload = before.model_copy(update={"input": value, "unplaced": _left(before, form)})
        issues = await self._workshop.issues(provider, payload)
        keep("payload", "edited", payload.model_dump(mode="json"))
        update["payload"] = payload.model_dump(mode="json")
        update["issues"] = [issue.model_dump(mode="json") for issue in issues]
        if any(issue.severity == "error" for issue in issues):
            # Not let pass: whoever edited it is shown what is wrong with it.
            settled = {name: seen for name, seen in state.get("settled", {}).items() if name != checkpoint.name}
            first = next(issue for issue in issues if issue.severity == "error")
            fault = {"code": PayloadFaultsError.code, "field": first.field, "message": first.message}
            return {**update, "settled": settled, "refusal": fault}
        return {**update, "settled": _settled(state, checkpoint, value)}

    def _responded(self, state: TeamState, checkpoint: Checkpoint, outcome: Outcome) -> TeamState:
        """The request with the reviewer's words, on its way to a new form."""
        form, payload = form_of(state), payload_of(state)
        value = form.payload if payload is None else payload.input
        before = checkpoint.stands == "information"
        request = composing.answered(
            request_of(state), form, value if state.get("edited") or not before else None, outcome.message,
            answer=response_of(state) if checkpoint.stands == "after_call" else None,
        )  # fmt: skip
        return {
            "request": request.model_dump(mode="json"),
            "responses": state.get("responses", 0) + 1,
            # The information was let pass already; what it becomes is looked at as a payload.
            "after_form": self._first("information") if before else PAYLOAD,
        }

    def _mendable(self, state: TeamState, error: ProviderError) -> bool:
        """Whether a person can do something about the provider's refusal, and is to be asked."""
        if isinstance(error, ProviderKeyError | ProviderQuotaError):
            return False
        looked_at = any(each.name == "payload_review" for each in self._at["before_call"])
        return looked_at and config_of(state).policy is not Policy.AUTO and state.get("refusals", 0) < MAX_REFUSALS

    # Ways through the graph

    def _first(self, place: Place) -> str:
        """Where the place begins; what follows it, where it has no checkpoint."""
        several = self._at[place]
        return several[0].name if several else _NEXT[place]

    def _after(self, checkpoint: Checkpoint) -> str:
        several = self._at[checkpoint.stands]
        place = several.index(checkpoint) + 1
        return several[place].name if place < len(several) else _NEXT[checkpoint.stands]

    def _onward(self, step: str, update: TeamState, response: ProviderResponse | None) -> Goto:
        """On to the next step; where there is none, the answer's files become those of the run's wallet."""
        if step == END:
            output_files.leave(response, store=self._workshop.store)
        return _go(step, update)

    async def _moment(self, state: TeamState) -> Moment:
        given, config = input_of(state), config_of(state)
        provider = self._workshop.providers.provider(given.provider)
        request = request_of(state)

        async def judge(response: Any) -> Any:
            asked = "\n".join([*(turn.text for turn in request.conversation), request.prompt])
            return await self._workshop.quality(asked or str((payload_of(state) or request).model_dump()), response)

        return Moment(
            request=request,
            provider=provider,
            model=await provider.model(given.model, given.operation),
            form=form_of(state),
            thresholds=_thresholds(config),
            scan=self._workshop.scan(provider, config.moderation),
            judge=judge,
            payload=payload_of(state),
            suggested=state.get("suggested"),
            issues=issues_of(state),
            refusal=state.get("refusal"),
            response=response_of(state),
            audit=audit_of(state),
        )


def decision_step_of(checkpoint: str) -> str:
    """The graph's name of the step that waits for a person there."""
    return f"{checkpoint}/decision"


_NEXT: Mapping[Place, str] = {"information": PAYLOAD, "before_call": CALL, "after_call": END}


def _go(step: str, update: TeamState) -> Goto:
    return Command(update=cast(dict[str, Any], update), goto=() if step == END else step)


def _ruled(checkpoint: Checkpoint, config: HITLConfig, found: Measured) -> Ruling:
    return policy.rule(
        checkpoint.name,
        config.policy,
        thresholds=_thresholds(config),
        measures=found.measures,
        own=found.findings,
        stops=found.stops,
    )


def _thresholds(config: HITLConfig) -> Thresholds:
    """Those that decide. Judging a response costs, and is left out where it decides nothing."""
    if config.policy is Policy.AUTO_WITH_THRESHOLDS:
        return config.review_thresholds
    return config.review_thresholds.model_copy(update={"response_quality_min": None})


def _settled(state: TeamState, checkpoint: Checkpoint, subject: Any) -> dict[str, str]:
    return {**state.get("settled", {}), checkpoint.name: digest_of(subject)}


def _ended(checkpoint: Checkpoint, outcome: Outcome) -> dict[str, str]:
    if outcome.answer == "fail":
        said = f"nobody decided on {checkpoint.name} in time"
        return {"code": ReviewTimeoutError.code, "message": said, "checkpoint": checkpoint.name}
    who = " and ".join(outcome.by) or "its deadline"
    said = f"{who} rejected it at {checkpoint.name}: {outcome.reason or 'no reason was given'}"
    return {"code": RejectedError.code, "message": said[:2000], "checkpoint": checkpoint.name}


async def _rejected(state: TeamState) -> Goto:
    """The end of what a person stopped: the same however often the run is tried again."""
    ended = state.get("ended") or {}
    kinds = {each.code: each for each in (RejectedError, ReviewTimeoutError, ReviewRoundsError)}
    kind = kinds.get(ended.get("code", ""), RejectedError)
    raise kind(ended.get("message", "it was rejected"), subject=ended.get("checkpoint"))


def _refusal(error: ProviderError) -> dict[str, Any]:
    """What the provider would not take, with the field that it named."""
    faults = error.details.get("errors") or ()
    field = error.details.get("field") or next((each.get("field") for each in faults), None)
    return {
        "code": error.code,
        "message": error.message[:2000],
        "field": field,
        "status": error.details.get("status"),
        "errors": list(faults)[:20],
    }


def _left(payload: Payload, form: Form) -> tuple[Any, ...]:
    """Files that still have no place."""
    refs = {each.attachment.ref for each in form.unplaced}
    return tuple(each for each in payload.unplaced if each.ref in refs)
