"""The pool file as a whole: the pool that it describes, its files on disk, and the keys it allows."""
