"""Answers the rows of a job on a Ray cluster: workers that each hold one `RouteMoA`, one keeper of what they spend."""

from routemoa.gateway.batches.ray_engine.engine import ROWS_PER_WORKER, run_on_ray

__all__ = ["ROWS_PER_WORKER", "run_on_ray"]
