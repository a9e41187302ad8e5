"""`routemoa pool remove`: take a model out of a pool file."""

from __future__ import annotations

import click

from routemoa.cli.options import edited_pool_option
from routemoa.cli.terminal.lines import print_line
from routemoa.core.text.plural import counted

__all__ = ["remove"]


@click.command(short_help="Take a model out of a pool file.")
@click.argument("name")
@edited_pool_option
def remove(name: str, pool_file: str | None) -> None:
    """Take the model NAME out of a pool file, with the comments that belong to it; all else stays as it is.

    \b
    Example:
      routemoa pool remove gpt-5.4-mini --pool pool.toml
    """
    from routemoa.cli.pool.pool_file import find_pool_file, remove_table
    from routemoa.core.errors import ConfigError
    from routemoa.core.files.toml import load_toml

    file = find_pool_file(pool_file)
    entry = file.find(name)
    if len(file.entries) == 1:
        raise ConfigError(f"{file.path}: '{name}' is its only model; a pool needs one")
    mixture = load_toml(file.text, str(file.path)).get("mixture", {})
    if mixture.get("aggregator") == name:
        raise ConfigError(f"{file.path}: [mixture]: aggregator names '{name}'; change that first")
    file.save(remove_table(file.text, name), [e for e in file.entries if e is not entry])
    print_line(f"{file.path}: removed {name}; {counted(len(file.entries), 'model is', 'models are')} left")
