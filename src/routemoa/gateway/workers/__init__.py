"""Several processes behind one listening socket: a supervisor, its workers, and what these share."""
