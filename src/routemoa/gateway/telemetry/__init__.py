"""What those who run a server see: health, metrics, spans and the log's lines."""
