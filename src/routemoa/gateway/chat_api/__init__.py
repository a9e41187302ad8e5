"""OpenAI's chat completions: a request's fields, the completion, and its stream."""
