"""What an answer states, in one form, and which answers agree. Pure."""
