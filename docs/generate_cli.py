"""Write docs/cli.md from the commands' own --help: `make docs`. A test fails when the file is out of date."""

from __future__ import annotations

from pathlib import Path

import click

from routemoa.cli import cli

TARGET = Path(__file__).parent / "cli.md"


def render() -> str:
    """The reference as Markdown."""
    parts = ["# Command line\n\nWritten by `make docs` from `--help`.\n"]

    def visit(command: click.Command, path: str, parent: click.Context | None) -> None:
        settings = {**command.context_settings, "terminal_width": 100}
        context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
        parts.append(f"## `{path}`\n\n```\n{command.get_help(context).rstrip()}\n```\n")
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                visit(child, f"{path} {name}", context)

    visit(cli, "routemoa", None)
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(render())
