"""The policies: adaptive, published, and tuned on records. Pure."""
