"""Other ways to answer a query behind the same Method protocol: the rival mixtures, and one model alone."""

from routemoa.baselines.best import best_single
from routemoa.baselines.cascade import Cascade
from routemoa.baselines.drawn import Drawn
from routemoa.baselines.moa import MoA
from routemoa.baselines.self_moa import SelfMoA
from routemoa.baselines.single import Single
from routemoa.baselines.smoa import SMoA

__all__ = ["Cascade", "Drawn", "MoA", "SMoA", "SelfMoA", "Single", "best_single"]
