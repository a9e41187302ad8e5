"""A group of commands that suggests the one that was probably meant."""

from __future__ import annotations

from difflib import get_close_matches

import click

__all__ = ["COMPLETION_VARIABLE", "SuggestingGroup"]

COMPLETION_VARIABLE = "_ROUTEMOA_COMPLETE"
"""Set by the scripts of `routemoa completion` where they ask what completes a line."""


class SuggestingGroup(click.Group):
    """A group that answers a misspelled command with the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name. Raises UsageError."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            close = get_close_matches(args[0], names, 1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"
            ctx.fail(f"There is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)
