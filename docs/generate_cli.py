"""Write docs/reference/cli.md from the commands' own --help.

    make docs

A test fails where the file is out of date.
"""

from __future__ import annotations

from pathlib import Path

import click

from routemoa.cli import cli

TARGET = Path(__file__).parent / "reference" / "cli.md"


def render() -> str:
    """Return the reference of all commands as Markdown."""
    sections = ["# Command line\n\n`make docs` writes this page from `--help`.\n"]

    def add_section(command: click.Command, path: str, parent: click.Context | None) -> None:
        settings = {**command.context_settings, "terminal_width": 100}
        context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
        sections.append(f"## `{path}`\n\n```\n{command.get_help(context).rstrip()}\n```\n")
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                add_section(child, f"{path} {name}", context)

    add_section(cli, "routemoa", None)
    return "\n".join(sections)


if __name__ == "__main__":
    TARGET.write_text(render())
