"""Conversations: read as queries, remembered without their text, with ids of tool calls."""
