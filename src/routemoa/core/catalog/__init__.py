"""What is known of models in general: their providers, families and list prices."""
