"""Group code answers by what they do, and read the calls and literals that texts hold. Pure."""
