"""Copy a store from one database to another."""
