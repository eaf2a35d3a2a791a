"""Verification of one submission or contribution, while the caller waits."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from starlette.responses import Response

from actors.errors import ScorerRefusedError
from actors.verification.read import read
from actors.verification.readers.sniff import check_claims, refuse, sniff
from serve import idempotency, uploads
from serve.auth import Caller, Principal, authorize, principal
from serve.deps import Given, IdempotencyKey, Services
from serve.errors import NotJudgedError, WrongKindError
from serve.routes.contributions import require_open
from serve.schemas import verification as schemas
from serve.schemas.fields import CampaignKey, Name
from serve.schemas.problems import problems
from storage import campaigns, contributions
from storage.errors import NotFoundError
from storage.verifications import ResultRow

router = APIRouter(tags=["verification"], dependencies=[Depends(principal)])

CampaignForm = Annotated[CampaignKey, Form(description="the campaign's id on its chain")]
WalletForm = Annotated[Name, Form(description="the contributor's wallet")]


async def _judge(given: Services, onchain_campaign_id: str, wallet: str, upload: uploads.Upload) -> ResultRow:
    """The judgement of an uploaded file for a campaign that is open. No connection is held meanwhile."""
    async with given.database.read() as session:
        require_open(await campaigns.by_onchain_id(session, onchain_campaign_id))
    return await given.verification.verify_submission(
        onchain_campaign_id=onchain_campaign_id,
        wallet_address=wallet,
        data=upload.data,
        file_name=upload.name,
        declared_type=upload.declared_type,
    )


@router.post(
    "/ai-verification/verify-submission",
    response_model=schemas.SubmissionVerdict,
    responses=problems(404, 408, 409, 415, 502),
)
async def verify_submission(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    onchain_campaign_id: CampaignForm,
    wallet_address: WalletForm,
    submission_file: Annotated[UploadFile, File(description="text, PDF, CSV or an image")],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Judge a file before it is submitted. Read `decision` first: only ACCEPT is accepted, whatever the score.

    `score` is null where nothing gave one: decision ERROR (a failure is never a score), an exact copy (REJECT), or an
    image without a vision model (REVIEW).
    """
    caller = authorize(caller, wallet_address)
    upload = await uploads.read(submission_file, "submission_file", limit=given.serve.max_upload_bytes)

    async def work() -> idempotency.Answer:
        row = await _judge(given, onchain_campaign_id, wallet_address, upload)
        return 200, {
            **schemas.of_row(row),
            "file_type_processed": schemas.file_type(row),
            "onchain_campaign_id": onchain_campaign_id,
            "contributor_wallet_address": wallet_address,
        }

    sent = b"" if idempotency_key is None else await upload.digest(onchain_campaign_id, wallet_address)
    return await idempotency.judge(request, given, caller, idempotency_key, sent=sent, work=work)


async def _require_kind(given: Services, upload: uploads.Upload, kind: Literal["text", "image"]) -> None:
    """Raises a 415 unless the file may be of this kind. The other address is named only where it takes such a file."""
    found = sniff(upload.data)
    if (found is not None and found.family == "image") == (kind == "image"):
        return
    if found is None:  # raises what the other address would answer
        await read(
            upload.data, given.reading.read,
            file_name=upload.name, declared_type=upload.declared_type, extract="preview",
        )  # fmt: skip
    elif found.family == "other":
        raise refuse(found)
    else:
        check_claims(found, upload.name, upload.declared_type)
    raise WrongKindError(
        f"the file is {found.name if found else 'text'}, and this address judges "
        f"{'images' if kind == 'image' else 'text'}; "
        f"send it to /ai-verification/contributions/verify-{'text' if kind == 'image' else 'image'}",
        subject=upload.name,
    )


async def _verify_older(
    request: Request,
    given: Services,
    caller: Principal,
    key: str | None,
    *,
    onchain_campaign_id: str,
    wallet: str,
    file: UploadFile,
    kind: Literal["text", "image"],
) -> Response:
    caller = authorize(caller, wallet)
    upload = await uploads.read(file, "file", limit=given.serve.max_upload_bytes)
    await _require_kind(given, upload, kind)

    async def work() -> idempotency.Answer:
        row = await _judge(given, onchain_campaign_id, wallet, upload)
        if row.verdict == "ERROR":
            refused = row.error_code == ScorerRefusedError.code
            error = ScorerRefusedError if refused else NotJudgedError
            raise error(f"no verification score: {row.reasoning}", subject=onchain_campaign_id)
        return 200, {
            "verification_score": schemas.older_score(row),
            "score": row.score,
            "reasoning": row.reasoning,
            "message": schemas.message(row),
            "decision": row.verdict,
            "onchain_campaign_id": onchain_campaign_id,
        }

    sent = b"" if key is None else await upload.digest(onchain_campaign_id, wallet)
    return await idempotency.judge(request, given, caller, key, sent=sent, work=work)


@router.post(
    "/ai-verification/contributions/verify-text",
    response_model=schemas.OlderVerdict,
    responses=problems(404, 408, 409, 415, 502),
)
async def verify_text(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    onchain_campaign_id: CampaignForm,
    wallet_address: WalletForm,
    file: Annotated[UploadFile, File(description="text, PDF or CSV")],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Judge a text, for older clients: `verification_score` passes (80 and more) just where the decision is ACCEPT.

    A copy is answered 0. Nothing able to judge is a 503 (502 where a provider refused), and an image a 415.
    """
    return await _verify_older(
        request, given, caller, idempotency_key,
        onchain_campaign_id=onchain_campaign_id, wallet=wallet_address, file=file, kind="text",
    )  # fmt: skip


@router.post(
    "/ai-verification/contributions/verify-image",
    response_model=schemas.OlderVerdict,
    responses=problems(404, 408, 409, 415, 502),
)
async def verify_image(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    onchain_campaign_id: CampaignForm,
    wallet_address: WalletForm,
    file: Annotated[UploadFile, File(description="PNG, JPEG, WebP or GIF")],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Judge an image, for older clients: `verification_score` passes (80 and more) just where the decision is ACCEPT.

    A copy is answered 0, and so is what a person must decide for want of a vision model (REVIEW). Nothing able to judge
    is a 503 (502 where a provider refused), and a text a 415.
    """
    return await _verify_older(
        request, given, caller, idempotency_key,
        onchain_campaign_id=onchain_campaign_id, wallet=wallet_address, file=file, kind="image",
    )  # fmt: skip


@router.post(
    "/agent-workflows/verify-contribution",
    response_model=schemas.ContributionVerdict,
    responses=problems(404, 409, 502),
)
async def verify_contribution(
    request: Request,
    given: Given,
    *,
    caller: Caller,
    body: schemas.ContributionToVerify,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Judge a stored contribution by the agents, now. Its verified score and verdict are written with it.

    What was handed in may be verified also after its campaign was closed or has expired. With another `data_url` than
    the contribution's own, what lies there is judged and answered, and the contribution stays as it is.
    """
    async with given.database.read() as session:
        contribution = await contributions.get(session, body.contribution_id)
        if body.onchain_campaign_id is not None:
            campaign = await campaigns.by_onchain_id(session, body.onchain_campaign_id)
            if contribution.campaign_id != campaign.campaign_id:
                raise NotFoundError(
                    f"campaign {body.onchain_campaign_id!r} has no contribution {body.contribution_id}",
                    subject=str(body.contribution_id),
                )

    async def work() -> idempotency.Answer:
        row = await given.verification.verify_contribution(body.contribution_id, data_url=body.data_url)
        return 200, {
            **schemas.of_row(row),
            "contribution_id": body.contribution_id,
            "contributor_wallet_address": contribution.contributor,
        }

    sent = body.model_dump_json().encode()
    return await idempotency.judge(request, given, caller, idempotency_key, sent=sent, work=work)
