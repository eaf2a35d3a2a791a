"""What can be said of a provider's response by rule, before a person or a scorer looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.agents.schema_work import embedded
from actors.providers import schema
from actors.providers.models import Audit, Finding, ProviderResponse, Severity

# Ends that leave an answer unfinished: OpenAI's, Anthropic's, Hugging Face's.
_CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"})
_MODERATED = frozenset({"content_filter", "refusal", "safety"})


def audited(response: ProviderResponse, output_schema: Mapping[str, Any] | None) -> Audit:
    """`usable` is false for a refusal, an empty answer, and one of another shape than the model's schema says."""
    findings: list[Finding] = []

    def found(code: Any, severity: Severity, message: str) -> None:
        findings.append(Finding(code=code, severity=severity, message=message[:500]))

    if response.refusal is not None:
        found("refusal", "error", f"the model refused: {response.refusal or '(it gave no reason)'}")
    if response.flags:
        found("moderation", "warning", f"the provider's moderation marked it: {', '.join(response.flags)}")
    elif response.finish in _MODERATED and response.refusal is None:
        found("moderation", "error", f"the provider's filter ended it: {response.finish}")
    if response.finish in _CUT_OFF:
        found("cut_off", "warning", f"the answer was cut off ({response.finish})")
    if response.refusal is None and is_empty(response):
        found("empty", "error", "the answer holds no text, no file and no value")
    elif output_schema is not None and response.output is not None:
        given = {"output": response.output}
        shape = {"properties": {"output": embedded(output_schema, "urn:hyvve:output")}}
        if (reason := schema.too_much(given, shape)) is not None:
            found("unchecked", "info", f"output: {reason}")
        else:
            for issue in [each for each in schema.issues(given, shape) if each.severity == "error"][:5]:
                found("shape", "error", f"{issue.field.removeprefix('$.input.')}: {issue.message}")
    for file in response.files:
        if file.lost is not None:
            found("lost_file", "warning", f"a file could not be copied and its address will expire: {file.lost}")
    used = response.usage
    if not (used.input_tokens or used.output_tokens or used.seconds or used.cost_micro_usd):
        found("no_usage", "info", "the provider did not say what the call used")
    return Audit(
        usable=not any(finding.severity == "error" for finding in findings), findings=tuple(findings), usage=used
    )


def is_empty(response: ProviderResponse) -> bool:
    """Whether there is nothing to look at: no words, no file, and no value that is any."""
    if response.text.strip() or response.files:
        return False
    return response.output is None or response.output in ("", [], {}) or _is_talk(response)


def _is_talk(response: ProviderResponse) -> bool:
    # Of a model that writes, the envelope is no answer.
    return response.operation in {"responses", "chat", "messages", "chat-completion", "text-generation", "images"}
