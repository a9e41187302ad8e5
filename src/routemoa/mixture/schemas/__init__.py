"""Check answers and tool calls against JSON Schemas, with bounded work."""
