"""What a message and a request hold: media, cache marks, the form of an answer. Pure data."""
