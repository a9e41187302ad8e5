"""Who may ask what: keys, tenants, rates and the admin routes."""
