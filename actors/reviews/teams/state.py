"""What the steps of a team run share, all of it JSON, and how a run stands for whoever looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, get_args

from actors.providers.models import Audit, Issue, Payload, ProviderResponse
from actors.reviews.checkpoints.base import Place
from actors.reviews.forms.models import Form, FormRequest
from actors.reviews.teams.request import HITLConfig, RunInput
from storage.runs import ENDED, Run

State = Literal[
    "created", "form_initialization", "information_review", "payload_review", "api_call", "response_review",
    "completed", "failed", "cancelled",
]  # fmt: skip
STATES: tuple[str, ...] = get_args(State)
# A custom checkpoint is part of the review beside which it stands.
STATE_OF: Mapping[Place, State] = {
    "information": "information_review",
    "before_call": "payload_review",
    "after_call": "response_review",
}


class TeamState(TypedDict, total=False):
    """`request` grows with reviewers' words; `suggested` is the payload's input as the machine first made it.

    `llm_calls` counts what a model was asked about the form, in all its rounds.

    `settled` holds, by checkpoint, the digest of what a person let pass there; `asked` is the question that waits;
    `ended` is why the run goes no further. `after_form` is where it goes on once the form is made anew.
    """

    run_input: dict[str, Any]
    hitl_config: dict[str, Any]
    request: dict[str, Any]
    form: dict[str, Any]
    llm_calls: int
    edited: bool
    suggested: dict[str, Any]
    payload: dict[str, Any]
    issues: list[dict[str, Any]]
    refusal: dict[str, Any] | None
    refusals: int
    response: dict[str, Any]
    audit: dict[str, Any]
    asked: dict[str, Any] | None
    rounds: dict[str, int]
    responses: int
    settled: dict[str, str]
    rulings: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    after_form: str
    ended: dict[str, Any] | None


def begun(given: Mapping[str, Any]) -> TeamState:
    """The graph's input for a run's."""
    asked = RunInput.model_validate(given["run_input"])
    return {
        "run_input": dict(given["run_input"]),
        "hitl_config": dict(given["hitl_config"]),
        "request": asked.form_request().model_dump(mode="json"),
    }


def result(values: Mapping[str, Any]) -> dict[str, Any]:
    """The run's output."""
    form = values.get("form") or {}
    told = ("completeness", "missing", "unplaced", "unknown_parameters", "notes")
    return {
        "response": values.get("response"),
        "audit": values.get("audit"),
        "payload": values.get("payload"),
        "suggested": values.get("suggested"),
        "form": {
            **{name: form.get(name) for name in told},
            "llm_calls": values.get("llm_calls", form.get("llm_calls")),
        },
        "rulings": values.get("rulings", []),
        "decisions": values.get("decisions", []),
    }


def state_of(run: Run) -> State:
    """Where the run stands among `STATES`."""
    if run.status in ENDED:
        return run.status  # type: ignore[return-value]  # the three that both have
    told = run.progress.get("state")
    return told if told in STATES else "created"


def input_of(state: TeamState) -> RunInput:
    return RunInput.model_validate(state["run_input"])


def config_of(state: TeamState) -> HITLConfig:
    return HITLConfig.model_validate(state["hitl_config"])


def request_of(state: TeamState) -> FormRequest:
    return FormRequest.model_validate(state["request"])


def form_of(state: TeamState) -> Form:
    return Form.model_validate(state["form"])


def payload_of(state: TeamState) -> Payload | None:
    return Payload.model_validate(state["payload"]) if "payload" in state else None


def issues_of(state: TeamState) -> tuple[Issue, ...]:
    return tuple(Issue.model_validate(each) for each in state.get("issues", []))


def response_of(state: TeamState) -> ProviderResponse | None:
    return ProviderResponse.model_validate(state["response"]) if "response" in state else None


def audit_of(state: TeamState) -> Audit | None:
    return Audit.model_validate(state["audit"]) if "audit" in state else None
