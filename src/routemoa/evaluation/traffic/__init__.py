"""What feedback says of a running server: calibration, members by kind of question and by week, the mixture's gain."""
