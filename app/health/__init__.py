"""What an orchestrator asks: live, ready, started, and how the stores are."""
