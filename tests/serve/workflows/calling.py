"""What a client asks about workflows, as it is sent."""

from __future__ import annotations

from typing import Any

import httpx

from tests.actors.agents.definitions import edge, payload

WALLET = "0xa"
OWNER = {"X-Wallet-Address": WALLET}


def one_agent(**changes: Any) -> dict[str, Any]:
    return payload(edge("a", "END"), **changes)


def body(definition: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "name": "My First Flow!",
        "wallet_address": WALLET,
        "definition_payload": definition or one_agent(),
    } | changes


async def define(client: httpx.AsyncClient, definition: dict[str, Any] | None = None, **changes: Any) -> str:
    response = await client.post("/agent-workflows/define", json=body(definition, **changes))
    assert response.status_code == 201, response.text
    return str(response.json()["workflow_id_api"])


async def run(client: httpx.AsyncClient, workflow: str, task: str = "the task", **changes: Any) -> httpx.Response:
    headers = changes.pop("headers", {})
    return await client.post(
        f"/agent-workflows/run/{workflow}",
        json={"task_description": task, "wallet_address": WALLET, **changes},
        headers=headers,
    )


async def review_of(client: httpx.AsyncClient, question: dict[str, Any]) -> dict[str, Any]:
    """The review that a run's interrupt waits for."""
    found = await client.get(f"/teams/reviews/{question['value']['review_id']}", headers=OWNER)
    assert found.status_code == 200, found.text
    return dict(found.json())


async def decide(
    client: httpx.AsyncClient, review: dict[str, Any], answer: str = "approve", *, by: str = "ann", **more: Any
) -> httpx.Response:
    body = {"answer": answer, "review_id": review["review_id"], "saw": review["saw"], "reviewer": by, **more}
    return await client.post(f"/teams/reviews/{review['review_id']}/decide", json=body, headers=OWNER)
