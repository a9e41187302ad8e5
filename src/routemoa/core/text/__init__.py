"""Numbers and others' words as text: plurals, dollars, what is safe to print or to decode. Pure."""
