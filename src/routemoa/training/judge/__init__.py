"""Learn from graded answers how models' errors come together, which models judge well, and what each signal is worth.

All of it is few numbers, drawn strongly towards defaults because graded traces are few: two numbers for the error
correlation (and one for each pair of models that are much alike), a bias and a weight for each judge, and a coefficient
for each signal.
"""

from routemoa.training.judge.calibration import (
    SignalPairs,
    collect_signal_pairs,
    describe_judge_model,
    measure_signals,
)
from routemoa.training.judge.coefficients import fit_judge_model
from routemoa.training.judge.cross_fit import CrossFittedJudge, cross_fit_judge_model
from routemoa.training.judge.error_correlation import fit_error_correlation
from routemoa.training.judge.graded_panel import GradedPanel, build_graded_panel, build_graded_panels
from routemoa.training.judge.lone_leader import fit_lone_leader

__all__ = [
    "CrossFittedJudge",
    "GradedPanel",
    "SignalPairs",
    "build_graded_panel",
    "build_graded_panels",
    "collect_signal_pairs",
    "cross_fit_judge_model",
    "describe_judge_model",
    "fit_error_correlation",
    "fit_judge_model",
    "fit_lone_leader",
    "measure_signals",
]
