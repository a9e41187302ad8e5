"""Find what an answer states, bring it to one form, and group the answers that agree. Pure."""
