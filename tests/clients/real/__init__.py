"""Real clients, in an environment of their own, against a running server: `make test-clients`.

The ordinary tests collect nothing here. `cases/` and `node/` run in the clients' environments and speak only HTTP.
"""
