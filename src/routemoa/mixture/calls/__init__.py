"""The calls of a layer while they run: admitted, grouped, guarded, streamed, and what each came to."""
