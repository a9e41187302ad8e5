"""The protocol of OpenAI-compatible endpoints: bodies, events, replies, and each endpoint's dialect."""
