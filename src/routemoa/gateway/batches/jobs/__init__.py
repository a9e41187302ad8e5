"""One batch job: its rows read and checked, its pace, its journal, its results, and the engine that runs it."""
