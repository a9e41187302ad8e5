"""What a transaction of the ledger executes."""

from __future__ import annotations

__all__ = ["DELETE_CALL", "INSERT_CALL", "INSERT_NOTE", "MARK_CALL_LOST", "UPDATE_CALL"]

INSERT_CALL = (  # what is known at the start: each NULL that Python binds costs more than a text
    "INSERT INTO calls (id, request, began, key, method, model, purpose, most, outcome, owner) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)"
)
UPDATE_CALL = (
    "UPDATE calls SET prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?, cost = ?, charged = ?, seconds = ?, "
    "outcome = ? WHERE id = ?"
)
INSERT_NOTE = "INSERT INTO notes (call, request, at, cost, note) VALUES (?, ?, ?, NULL, ?)"
DELETE_CALL = "DELETE FROM calls WHERE id = ?"
MARK_CALL_LOST = "UPDATE calls SET charged = most, outcome = 'lost' WHERE id = ?"
