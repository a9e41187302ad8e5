"""Compare the mixture with single models, fixed panels, random choice and an oracle, live or on recorded answers."""
