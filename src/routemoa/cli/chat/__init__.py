"""`routemoa chat`: a conversation with a mixture of models."""
