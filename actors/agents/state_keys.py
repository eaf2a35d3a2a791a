"""What a workflow's state has, for who must know it without loading LangGraph: the keys of `workflow_state`'s."""

from __future__ import annotations

STATE_KEYS = ("messages", "agent_name", "current_task_description", "workflow_scratchpad", "workflow_progress")
