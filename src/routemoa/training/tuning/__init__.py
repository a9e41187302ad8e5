"""Choose, on records, how to answer at a given quality or cost: the policy that `routemoa tune` writes."""
