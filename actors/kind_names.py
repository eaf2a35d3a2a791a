"""What kinds of runs are called. Who tells of runs needs no more; what drives them loads LangGraph, for seconds."""

from __future__ import annotations

WORKFLOW = "agent_workflow"
TEAM_RUN = "team_run"
TEAM_COMPARISON = "team_comparison"
