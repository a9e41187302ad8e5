"""What several gateways share through a Redis or Valkey server: rates, budgets, and what they have learned."""
