"""Live runs: methods answer a task's questions, each call paid for once."""
