"""Files that a request or a reviewer's edit names: faults of those that cannot be sent, or are not the run's to send.

They are looked at where they are named, so that whoever names one is told; what gets past that (words of a prompt, a
model's answer) is looked at with the payload, and once more when a file is read for the provider.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from actors.errors import ReviewEditError
from actors.providers import rights, schema
from actors.providers.base import AIProvider
from actors.providers.files import Path, at
from actors.providers.models import Issue, ModelInfo, Payload
from actors.reviews.decisions import Edit
from actors.reviews.forms.paths import written
from actors.reviews.teams.request import AttachmentIn, Candidate, RunInput
from storage.errors import AddressRefusedError, BadReferenceError
from storage.references import parse

Fault = dict[str, str]


def attachment_faults(attachments: Sequence[AttachmentIn], path: str) -> list[Fault]:
    """Attachments that name nothing."""
    faults: list[Fault] = []
    for place, attachment in enumerate(attachments):
        try:
            parse(attachment.ref)
        except (BadReferenceError, AddressRefusedError) as error:
            faults.append({"path": f"{path}.attachments[{place}].ref", "message": error.message, "code": error.code})
    return faults


async def foreign_faults(
    session: AsyncSession,
    wallet: str | None,
    given: RunInput,
    path: str,
    *,
    provider: AIProvider | None = None,
    model: ModelInfo | None = None,
    candidate: tuple[str, Candidate] | None = None,
) -> list[Fault]:
    """Attachments, and files among the parameters, that the wallet may not read. Which parameters are files, `model`
    says. `candidate` is whose own parameters stand at another path, with that path.
    """
    named = {f"{path}.attachments[{place}].ref": each.ref for place, each in enumerate(given.attachments)}
    if provider is not None and model is not None:
        payload = Payload(provider=provider.name, model=model.id, operation=model.operation, input=given.parameters)
        for where in provider.file_paths(payload, model):
            own = candidate is not None and where[:1] and where[0] in candidate[1].parameters
            base = candidate[0] if candidate is not None and own else path
            named[f"{base}.parameters{written(where).removeprefix('$')}"] = str(at(given.parameters, where))
    faults = await rights.forbidden(session, wallet, named.values())
    return [{"path": at_, "message": faults[ref], "code": rights.CODE} for at_, ref in named.items() if ref in faults]


async def foreign_issues(held: rights.Rights, provider: AIProvider, payload: Payload, model: ModelInfo) -> list[Issue]:
    """Files of the payload that the run that is going on may not read."""
    paths = {path: str(at(payload.input, path)) for path in provider.file_paths(payload, model)}
    faults = await held.faults(paths.values())
    return [
        Issue(
            field=schema.path_text(path), severity="error", message=faults[ref],
            fix="name a file of the run's wallet, or an https URL",
        )
        for path, ref in paths.items() if ref in faults
    ]  # fmt: skip


async def require_own(session: AsyncSession, wallet: str | None, edit: Edit, edit_schema: Any) -> None:
    """Raises `ReviewEditError` naming each file that the edit names and the run's wallet may not read."""
    paths: dict[Path, str] = {
        path: str(at(edit.payload, path)) for path in schema.file_paths(edit.payload, edit_schema)
    }
    faults = await rights.forbidden(session, wallet, paths.values())
    found = [{"path": written(path), "message": faults[ref]} for path, ref in paths.items() if ref in faults]
    if found:
        said = "; ".join(f"{each['path']} {each['message']}" for each in found[:5])
        raise ReviewEditError(
            f"the edit names what is not the run's: {said}", subject=str(edit.review_id), errors=found
        )
