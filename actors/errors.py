"""What can go wrong where work is done. Codes are public: they stand in result rows and problem answers."""

from __future__ import annotations

from typing import ClassVar

from storage.errors import HyvveError


class ActorsError(HyvveError):
    code = "actors"


class MissingExtraError(ActorsError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    code = "missing_extra"


class MissingKeyError(ActorsError):
    """A provider's key is not configured; the message names the setting."""

    code = "missing_key"


class UnreadableError(ActorsError):
    """The content cannot be read as what it is, or as what it says it is."""

    code = "unreadable"


class UnsupportedTypeError(UnreadableError):
    """The content's type is none of text, PDF, CSV and image, or contradicts its name or declared type."""

    code = "unsupported_type"


class ContentTooLargeError(UnreadableError):
    """The content, or what it expands to, exceeds a stated limit."""

    code = "content_too_large"


class EmptyContentError(UnreadableError):
    code = "empty_content"


class ScorerError(ActorsError):
    """A scorer could not give a score."""

    code = "scorer"


class ScorerUnavailableError(ScorerError):
    """The provider is down, slow or overloaded. Retried with backoff before it becomes an ERROR row."""

    code = "scorer_unavailable"


class ScorerRateLimitedError(ScorerUnavailableError):
    """The provider asked us to slow down; `details["retry_after_s"]` where it said for how long."""

    code = "scorer_rate_limited"


class ScorerRefusedError(ScorerError):
    """The provider refused for a reason that trying again will not change (bad key, bad request, policy)."""

    code = "scorer_refused"


class ScorerAnswerError(ScorerError):
    """The provider answered, but not with marks we can trust (not the schema, out of range). Retried."""

    code = "scorer_answer"


class ItemTimeoutError(ActorsError):
    """One contribution took longer than `FanoutSettings.item_timeout_s` to read or to score."""

    code = "item_timeout"


class UnexpectedItemError(ActorsError):
    """An error that nobody foresaw, on one contribution alone; its kind and words stand in the message."""

    code = "unexpected"


class WorkerLostError(ActorsError):
    """The process or machine that judged died before it answered (a crash, memory, a lost node)."""

    code = "worker_lost"


class PreparedLostError(WorkerLostError):
    """What one worker had read was lost before another could judge it. It is read again."""

    code = "prepared_lost"


class CutOffError(ActorsError):
    """Another runner has taken the batch over, or it is finished: whoever gets this must stop."""

    code = "cut_off"


class ClusterUnavailableError(ActorsError):
    """The cluster cannot run the work: no runner, no node with the resources it needs, or no connection."""

    code = "cluster_unavailable"


class LLMError(ActorsError):
    """A language model gave an agent no answer to go on with."""

    code = "llm"


class UnknownLLMError(LLMError):
    """No language model is known by this name; the message lists those that are."""

    code = "unknown_llm"


class LLMUnavailableError(LLMError):
    """The provider is down, slow or overloaded; trying again may help."""

    code = "llm_unavailable"


class LLMRateLimitedError(LLMUnavailableError):
    """The provider asked us to slow down; `details["retry_after_s"]` where it said for how long."""

    code = "llm_rate_limited"


class LLMRefusedError(LLMError):
    """The provider refused for a reason that trying again will not change (bad request, policy)."""

    code = "llm_refused"


class LLMKeyError(LLMRefusedError):
    """The provider does not accept the key, or the key may not do this: somebody must change it."""

    code = "llm_key"


class LLMQuotaError(LLMRefusedError):
    """The account's quota or money is spent: somebody must top it up before another try can succeed."""

    code = "llm_quota"


class LLMAnswerError(LLMError):
    """The provider answered, but with nothing an agent can use (no JSON, empty, cut off). Another try may help."""

    code = "llm_answer"


class ToolError(ActorsError):
    """A tool could not do what an agent asked. Agents are told so, as data."""

    code = "tool"


class UnknownToolError(ToolError):
    """No tool has this name, or this agent may not use it; the message lists those it may."""

    code = "unknown_tool"


class ToolArgumentsError(ToolError):
    """The arguments are not what the tool takes; the message names each fault."""

    code = "tool_arguments"


class ToolForbiddenError(ToolError):
    """The wallet that the agent acts for has no right to this."""

    code = "tool_forbidden"


class ToolTimeoutError(ToolError):
    """A tool took longer than it may."""

    code = "tool_timeout"


class SearchError(ToolError):
    """The search service is down, slow, refuses, or answers nonsense."""

    code = "search"


class BadRuleError(ActorsError):
    """A schedule's interval or cron expression is none, or is never due."""

    code = "bad_rule"


class RunError(ActorsError):
    """A run could not be accepted, driven or changed."""

    code = "run"


class UnknownKindError(RunError):
    """No kind of runs has this name here."""

    code = "unknown_kind"


class ThreadBusyError(RunError):
    """Another run of this thread is not finished; `subject` is its id."""

    code = "thread_busy"


class ThreadForbiddenError(RunError):
    """The thread belongs to another wallet: going on with it would show its conversation."""

    code = "forbidden"


class RunConflictError(RunError):
    """The run's present state does not allow what was asked: a late, repeated or unknown answer among them."""

    code = "run_conflict"


class RunTooLargeError(RunError):
    """What a run was given exceeds a stated limit."""

    code = "run_too_large"


class RunDeadlineError(RunError):
    """The run was not finished by its deadline."""

    code = "run_deadline"


class RunResultError(RunError):
    """A run's result, or what it should remember, cannot be kept as JSON."""

    code = "run_result"


class RecursionLimitError(RunError):
    """The run took more steps than its kind, or its workflow's definition, allows."""

    code = "recursion_limit"


class HostLostError(RunError):
    """The run's host died under the same step again and again."""

    code = "host_lost"


class BudgetExceededError(RunError):
    """The run has used up its budget."""

    code = "budget_exceeded"


class StepTimeoutError(RunError):
    """A step took longer than it may. Retried as its policy says."""

    code = "step_timeout"


class NeedsPersonError(RunError):
    """A step cannot go on without a person's doing (a key, a permission, a decision): trying again will not help."""

    code = "needs_person"


class UnpricedModelError(NeedsPersonError):
    """A run with a budget of cost would ask a model whose price nobody has given; the message names the setting."""

    code = "unpriced_model"


class WorkflowError(ActorsError):
    """A workflow cannot be what its definition says, or a run of it cannot go on."""

    code = "workflow"


class DefinitionFaultsError(WorkflowError):
    """The definition's parts do not fit together; `details["errors"]` names each fault by its JSON path."""

    code = "definition_faults"


class RunInputError(WorkflowError):
    """What the run was given is not what its workflow, or its kind, takes; `details["errors"]` names each fault by its
    JSON path.
    """

    code = "run_input"


class SchemaViolationError(WorkflowError):
    """What a node was given, or what it answered twice, does not satisfy the node's JSON Schema."""

    code = "schema_violation"


class ToolCallError(WorkflowError):
    """The model called an unknown tool, or with wrong arguments, was told so, and did it again. A new try asks anew."""

    code = "tool_call"


class ScratchpadTooLargeError(WorkflowError):
    """The scratchpad would exceed its limit; the message names the limit and what would have been added."""

    code = "scratchpad_too_large"


class PromptTooLargeError(WorkflowError):
    """An agent's instructions, once their placeholders are filled, exceed the limit that the message names."""

    code = "prompt_too_large"


class ReviewRejectedError(WorkflowError):
    """A person rejected the node's answer: what was rejected is not passed on."""

    code = "review_rejected"


class ProviderError(ActorsError):
    """An AI provider could not do what was asked."""

    code = "provider"
    # Read by the run engine: whether the same call may succeed when it is made again.
    retryable: ClassVar[bool] = False


class UnknownProviderError(ProviderError):
    """No provider has this name; the message lists those that do."""

    code = "unknown_provider"


class UnknownModelError(ProviderError):
    """The provider has no such model, or it does not do what was asked of it."""

    code = "unknown_model"


class BadProviderError(ProviderError):
    """A provider's file, found by its entry point, cannot be loaded or is none."""

    code = "bad_provider"


class PayloadFaultsError(ProviderError):
    """The payload is not what the model takes; `details["errors"]` names each fault by its JSON path."""

    code = "payload_faults"


class ProviderUnavailableError(ProviderError):
    """The provider is down, slow or overloaded; trying again may help."""

    code = "provider_unavailable"
    retryable = True


class ProviderRateLimitedError(ProviderUnavailableError):
    """The provider asked us to slow down; `details["retry_after_s"]` where it said for how long."""

    code = "provider_rate_limited"


class ProviderAnswerError(ProviderError):
    """The provider answered, but with nothing that can be read. Another try may help."""

    code = "provider_answer"
    retryable = True


class ProviderRefusedError(ProviderError):
    """The provider refused for a reason that trying again will not change; `details["field"]` where it named one."""

    code = "provider_refused"


class ProviderModerationError(ProviderRefusedError):
    """The provider's moderation stopped the request or its answer."""

    code = "provider_moderation"


class ProviderKeyError(ProviderRefusedError):
    """The provider does not accept the key, or the key may not do this: somebody must change it."""

    code = "provider_key"


class ProviderQuotaError(ProviderRefusedError):
    """The account's quota or money is spent: somebody must top it up before another try can succeed."""

    code = "provider_quota"


class FileForbiddenError(ProviderError):
    """A file was named that the wallet which the run belongs to may not read; `subject` is its reference."""

    code = "file_forbidden"


class JobFailedError(ProviderError):
    """The model itself failed at its work; `subject` is the job's id, `details["logs"]` the end of its log."""

    code = "job_failed"


class JobCanceledError(ProviderError):
    """The work was stopped at the provider, by somebody or by a deadline; `subject` is the job's id."""

    code = "job_canceled"


class WebhookRefusedError(ProviderError):
    """A webhook whose signature is missing, wrong, or too old to be acted upon."""

    code = "webhook_refused"


class ReviewError(ActorsError):
    """A review cannot be what was asked for, or cannot be decided so."""

    code = "review"


class FormSchemaError(ReviewError):
    """A model's schema cannot be read as a form; the message names the place in it."""

    code = "form_schema"


class ReviewConflictError(ReviewError):
    """The decision is late, foreign, repeated, or of a state that has gone; `details["state"]` is the present one."""

    code = "review_conflict"


class ReviewEditError(ReviewError):
    """What a reviewer edited is not what the step takes; `details["errors"]` names each fault by its JSON path."""

    code = "review_edit"


class ReviewTimedOutError(ReviewError):
    """Nobody decided in time, and the question's deadline says that what asked fails then."""

    code = "review_timed_out"


class CalibrationChangedError(ReviewError):
    """What would be applied is not what is proposed now; `details["state"]` has the digest of that, where there is
    one.
    """

    code = "calibration_changed"


class ReviewRuleError(ReviewError):
    """A review's policy names what there is not; `details["errors"]` lists it."""

    code = "review_rule"


class BadCheckpointError(ReviewError):
    """A checkpoint's file, found by its entry point, cannot be loaded or is none."""

    code = "bad_checkpoint"


class TeamRequestError(ReviewError):
    """What a team run was asked for is not there or does not fit; `details["errors"]` names each fault by its path."""

    code = "team_request"


class RejectedError(ReviewError):
    """A reviewer rejected it, with this reason: the run goes no further, whoever tries it again."""

    code = "rejected"


class ReviewTimeoutError(ReviewError):
    """Nobody decided in time, and the run was to fail then."""

    code = "review_timeout"


class ReviewRoundsError(ReviewError):
    """A checkpoint came back to a person more often than it may."""

    code = "review_rounds"
