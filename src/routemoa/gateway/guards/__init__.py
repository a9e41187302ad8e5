"""What stands before the application: deadlines and caps of connections, load shedding, hosts and origins, the log."""
