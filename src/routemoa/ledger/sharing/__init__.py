"""Budgets that several gateways share, each with a ledger of its own."""
