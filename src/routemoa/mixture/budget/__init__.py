"""What a request may spend: account, planner, metering of calls."""
