"""What several commands do with members of a pool: ask for one token, fetch weights."""
