"""The posterior: what answers state, which agree, and how likely each is right by votes and judgments. Pure."""
