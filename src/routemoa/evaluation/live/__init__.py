"""Live runs: methods answer a task's questions, and every call is paid for once."""
