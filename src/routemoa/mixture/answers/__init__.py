"""The answer from the panel's answers: aggregated, selected, run as code, or written again in a form."""
