"""The ledger's file: one writer for each process, its transactions, and the processes that are alive."""
