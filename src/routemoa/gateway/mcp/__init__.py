"""A server of the Model Context Protocol: an agent asks the mixture, compares its models and reads how it chose."""
