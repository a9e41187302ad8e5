"""The posterior: what answers state, which agree, what judges add. Pure."""
