"""A kind's graphs, compiled for a host: each node tells of its steps, is retried, and has a step's context."""

from __future__ import annotations

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.graph.state import CompiledStateGraph

from actors.runs.driven import driven_run
from actors.runs.durable_context import DurableContext
from actors.runs.kinds import Kind
from actors.runs.retrying import ONCE, RetryPolicy, attempted
from actors.runs.step import entered

Compiled = CompiledStateGraph[Any, Any, Any, Any]

# Compiled graphs kept per host; one is some hundred kilobytes.
_KEPT = 128


class GraphCache:
    """Compiled graphs by kind and spec, the latest used ones."""

    def __init__(self, saver: BaseCheckpointSaver[str]) -> None:
        self._saver = saver
        self._graphs: OrderedDict[tuple[str, bytes], Compiled] = OrderedDict()

    async def of(self, kind: Kind, spec: Mapping[str, Any]) -> Compiled:
        """The graph of this kind and spec. Raises what the kind raises for a spec that it cannot build."""
        key = (kind.name, hashlib.sha256(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).digest())
        if key in self._graphs:
            self._graphs.move_to_end(key)
        else:
            built = kind.graph(dict(spec))
            builder = await built if inspect.isawaitable(built) else built
            for name, node in builder.nodes.items():
                policy = ONCE if node.retry_policy or _has_policy(node.runnable) else kind.retry
                wrapped: Any = EngineNode(name, node.runnable, policy)  # type: ignore[arg-type]  # a Runnable by then
                builder.nodes[name] = replace(node, runnable=wrapped)
            self._graphs[key] = builder.compile(checkpointer=self._saver, name=kind.name)
            while len(self._graphs) > _KEPT:
                self._graphs.popitem(last=False)
        return self._graphs[key]


class EngineNode(Runnable[Any, Any]):
    """A node in the engine. A task that waits for an answer which is not given yet asks again without being run."""

    def __init__(self, name: str, node: Runnable[Any, Any], retry: RetryPolicy) -> None:
        self.name = name
        self._node = node
        self._retry = retry

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        return self._node.invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        run = driven_run.get()
        assert run is not None
        assert config is not None
        assert self.name is not None
        metadata = config["metadata"]
        task_id = str(metadata["langgraph_checkpoint_ns"]).rpartition(":")[2]
        if asked := run.unanswered(task_id):
            raise GraphInterrupt(asked)
        context = DurableContext(run, self.name, task_id, int(metadata["langgraph_step"]))
        run.step_started(task_id, self.name)
        with entered(context):
            try:
                if self._retry.attempts == 1:
                    return await self._node.ainvoke(input, config, **kwargs)
                return await attempted(lambda: self._node.ainvoke(input, config, **kwargs), self._retry)
            except GraphBubbleUp:
                raise
            except Exception as error:
                run.step_failed(self.name, error)
                raise


def _has_policy(node: Any) -> bool:
    """Whether the node is one of `durable`'s."""
    return any(getattr(getattr(node, name, None), "__durable__", False) for name in ("afunc", "func"))
