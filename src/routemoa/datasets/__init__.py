"""Questions to ask, records of what models answered, and the graders that score answers."""
