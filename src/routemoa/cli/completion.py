"""`routemoa completion`: scripts that complete commands, options, methods and models of the pool with the Tab key.

The shell asks the command itself what completes a line. click finds commands and options; what is here adds the values
of options, files where nothing else fits, and words with a colon, such as `single:NAME`, which Bash takes apart.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from routemoa.cli.command_group import COMPLETION_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["complete_method", "complete_methods", "complete_model", "completion", "register_shells"]

SINGLE = "single:"

BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' words=() last=-1 i prefix= response type value

    # Bash splits words at ":" and "=", as in single:NAME and --method=NAME: join the first, drop the "=".
    for ((i = 0; i <= COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == "=" ]]; then
            if ((i == COMP_CWORD)); then words[++last]=; fi
        elif ((last >= 0)) && [[ ${COMP_WORDS[i]} == :* || ${words[last]} == *: ]]; then
            words[last]+=${COMP_WORDS[i]}
        else
            words[++last]=${COMP_WORDS[i]}
        fi
    done
    if [[ $COMP_WORDBREAKS == *:* ]]; then prefix=${words[last]%%"${words[last]##*:}"}; fi

    response=$(env COMP_WORDS="${words[*]}" COMP_CWORD=$last %(complete_var)s=bash_complete "$1")
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$prefix"}") ;;
        esac
    done <<< "$response"
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a plain described response
    local type value description
    (( $+commands[%(prog_name)s] )) || return 1
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) %(complete_var)s=zsh_complete \
        %(prog_name)s)}")
    compset -P '--*='
    for type value description in ${response}; do
        case $type in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain) [[ $description == _ ]] && plain+=("$value") || described+=("$value:$description") ;;
        esac
    done
    if (( $#described )); then _describe -V unsorted described; fi
    if (( $#plain )); then compadd -V unsorted -a plain; fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

FISH = """\
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \\
        COMP_CWORD=(commandline -t) %(prog_name)s)
    for completion in $response
        set -l parts (string split -m 1 "," $completion)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _FilesElse(ShellComplete):
    """Completes files where nothing else is known: many options and arguments take one."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return what completes the last word of a line."""
        found = super().get_completions(args, incomplete)
        if found or (incomplete.startswith("-") and "=" not in incomplete):
            return found
        return [CompletionItem(incomplete, type="file")]


class _Bash(_FilesElse, BashComplete):
    source_template = BASH

    def source(self) -> str:
        """Return the script, without running Bash to learn its version."""
        return ShellComplete.source(self)


class _Zsh(_FilesElse, ZshComplete):
    source_template = ZSH


class _Fish(_FilesElse, FishComplete):
    source_template = FISH

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return what completes the last word; fish replaces the whole of --method=NAME."""
        found = super().get_completions(args, incomplete)
        name, equals, _ = incomplete.partition("=")
        if equals and name.startswith("--"):
            return [CompletionItem(f"{name}={item.value}", item.type, item.help) for item in found]
        return found


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def register_shells() -> None:
    """Let click answer the shells with the classes of this module."""
    for name, shell in SHELLS.items():
        add_completion_class(shell, name)


@click.command(short_help="Print a script that completes commands with Tab.")
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for SHELL. With it the Tab key completes commands, options, methods, and models of the pool.

    \b
    Bash 4.4 or later, with the package bash-completion:
      mkdir -p ~/.local/share/bash-completion/completions
      routemoa completion bash \\
        > ~/.local/share/bash-completion/completions/routemoa

    \b
    Bash without that package, as a line of ~/.bashrc:
      eval "$(routemoa completion bash)"

    \b
    Zsh, as a line of ~/.zshrc after the one with compinit:
      eval "$(routemoa completion zsh)"

    \b
    Fish:
      mkdir -p ~/.config/fish/completions
      routemoa completion fish > ~/.config/fish/completions/routemoa.fish

    Open a new shell afterwards. Models are those of a --pool FILE earlier in the line, else of $ROUTEMOA_POOL, else of
    the embedded pool.
    """
    click.echo(SHELLS[shell](context.find_root().command, {}, "routemoa", COMPLETION_VARIABLE).source(), nl=False)


def complete_method(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the methods that begin with `incomplete`; single models by name."""
    from routemoa.core.pool_file.pool import METHODS

    return _select([*METHODS, *(SINGLE + name for name in read_model_names(ctx))], incomplete)


def complete_methods(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return what completes the last method of a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [before + comma + name for name in complete_method(ctx, parameter, last) if name not in taken]


def complete_model(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the models of the pool that begin with `incomplete`."""
    return _select(read_model_names(ctx), incomplete)


def read_model_names(ctx: click.Context) -> list[str]:
    """Return the models of the pool that a command line uses; none where its file cannot be read.

    Only the names are read: a key that is not set, or a price that is out of range, is no reason to complete nothing.
    """
    file = ctx.params.get("pool_file") or os.environ.get("ROUTEMOA_POOL")
    path = Path(file).expanduser() if file else Path(__file__).parents[1] / "core" / "pool_file" / "embedded.toml"
    try:
        tables = tomllib.loads(path.read_text("utf-8")).get("model", [])
        return [str(table["name"]) for table in tables]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _select(names: Iterable[str], incomplete: str) -> list[str]:
    """Return the names that begin with `incomplete` and need no quotes in a shell."""
    return [n for n in names if n.startswith(incomplete) and n.isprintable() and not set(n) & set(" \"'`$\\!*?;&|<>()")]
