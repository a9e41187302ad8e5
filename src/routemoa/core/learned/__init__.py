"""What was learned or tuned on records: the files that hold it, and the figures that it is made of."""
