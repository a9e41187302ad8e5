"""The group of commands `routemoa scorer`."""

from __future__ import annotations

import click

from routemoa.cli.command_group import SuggestingGroup
from routemoa.cli.scorer.evaluate import evaluate
from routemoa.cli.scorer.join import join, probes
from routemoa.cli.scorer.learn import forget, learn
from routemoa.cli.scorer.show import show
from routemoa.cli.scorer.train import train

__all__ = ["scorer"]


@click.group(cls=SuggestingGroup, context_settings={"max_content_width": 100})
def scorer() -> None:
    """Train a scorer on records, evaluate it on others, explain its predictions, add models to it."""


for command in (train, evaluate, show, join, probes, learn, forget):
    scorer.add_command(command)
