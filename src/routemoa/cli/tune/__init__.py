"""`routemoa tune`: choose on records how to answer at a given quality or cost."""
