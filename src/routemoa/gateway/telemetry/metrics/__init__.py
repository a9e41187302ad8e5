"""What a server counts, for Prometheus: requests, calls, tokens, dollars, seconds, choices, and its own state."""

from routemoa.gateway.telemetry.metrics.endpoint import MetricsEndpoint, StateCollector
from routemoa.gateway.telemetry.metrics.server_metrics import NO_MODEL, ServerMetrics

__all__ = ["NO_MODEL", "MetricsEndpoint", "ServerMetrics", "StateCollector"]
