"""Other ways to answer a query behind the same Method protocol: the rival mixtures, and one model alone."""

from routemoa.mixture.baselines.best_single import best_single
from routemoa.mixture.baselines.cascade import Cascade
from routemoa.mixture.baselines.moa import MoA
from routemoa.mixture.baselines.random_panel import RandomPanel
from routemoa.mixture.baselines.self_moa import SelfMoA
from routemoa.mixture.baselines.single import Single
from routemoa.mixture.baselines.smoa import SMoA

__all__ = ["Cascade", "MoA", "RandomPanel", "SMoA", "SelfMoA", "Single", "best_single"]
