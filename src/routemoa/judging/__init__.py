"""The posterior: extract and group what answers state, weigh votes and judgments, estimate what more would tell. Pure."""
