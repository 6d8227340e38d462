"""Commands made from annotated signatures: what each annotation means on the command line."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
from click.testing import CliRunner

from cachewarm.cli.main import COMMANDS, app
from cachewarm.cli.parameters import Argument, Group, Option, make_command


class Colour(StrEnum):
    """An enumeration whose values differ from its names."""

    RED = "dark-red"
    BLUE = "light-blue"


group = Group(help="Commands of this test.")
called: list[dict[str, Any]] = []


@group.command("paint")
def paint(
    surface: Annotated[Path, Argument(metavar="FILE", help="What is painted.")],
    colour: Annotated[Colour, Option(help="Of the paint.")] = Colour.RED,
    coats: Annotated[int | None, Option("--coats", min=1, max=9, help="How many.")] = None,
    dry: Annotated[bool, Option(help="Wait until it is dry.")] = True,
    loud: Annotated[bool, Option("--loud", help="Play music.")] = False,
    names: Annotated[list[str], Option("--name", help="Who paints.")] = [],  # noqa: B006
) -> None:
    """Paint a surface."""
    called.append(locals())


@group.command("wash")
def wash(brushes: Annotated[list[Path] | None, Argument(metavar="[FILE]...", help="All without any.")] = None) -> None:
    """Wash brushes."""
    called.append(locals())


@group.command("secret", hidden=True)
def secret() -> None:
    """Not listed."""


def invoke(*words: str) -> Any:
    """Run a command of the group and return how it ended."""
    called.clear()
    return CliRunner().invoke(group, words)


def test_defaults_are_those_of_the_function() -> None:
    """Members of an enumeration among them, and a list that is empty."""
    assert invoke("paint", "wall").exit_code == 0
    (given,) = called
    assert given == {
        "surface": Path("wall"),
        "colour": Colour.RED,
        "coats": None,
        "dry": True,
        "loud": False,
        "names": [],
    }
    assert given["colour"] is Colour.RED


def test_values_arrive_in_the_annotated_types() -> None:
    """Paths, members of an enumeration, numbers, switches with two names and with one, repeated options."""
    words = "wall --colour light-blue --coats 2 --no-dry --loud --name a --name b"
    assert invoke("paint", *words.split()).exit_code == 0
    (given,) = called
    assert (given["colour"], given["coats"], given["dry"], given["loud"]) == (Colour.BLUE, 2, False, True)
    assert given["names"] == ["a", "b"]


@pytest.mark.parametrize("words", ["", "a", "a b"])
def test_a_list_argument_takes_any_number_of_words(words: str) -> None:
    """None of them too."""
    assert invoke("wash", *words.split()).exit_code == 0
    assert called == [{"brushes": [Path(word) for word in words.split()]}]


@pytest.mark.parametrize("words", ["", "wall --coats 0", "wall --coats 10", "wall --coats x", "wall --colour RED"])
def test_a_value_of_the_wrong_kind_is_a_usage_error(words: str) -> None:
    """So is a missing argument. The function is not called."""
    assert invoke("paint", *words.split()).exit_code == 2
    assert called == []


def test_help_shows_values_defaults_and_arguments() -> None:
    """In the words of the command line; hidden commands are not listed but work."""
    text = " ".join(invoke("paint", "--help").stdout.split())
    for part in (
        "FILE What is painted",
        "<dark-red|light-blue>",
        "[default: dark-red]",
        "[1<=x<=9]",
        "--dry / --no-dry",
    ):
        assert part in text
    assert "default: False" not in text
    assert "secret" not in invoke("--help").stdout
    assert invoke("secret").exit_code == 0


def test_a_parameter_without_annotation_is_refused() -> None:
    """When the command is made, not when it is called."""

    def forgot(number: int) -> None:
        """Take a number."""

    with pytest.raises(TypeError, match="number"):
        make_command(forgot, "forgot")


def test_completion_offers_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Click completes names of subcommands for a shell that asks."""
    monkeypatch.setenv("COMP_WORDS", "fastocsp un")
    monkeypatch.setenv("COMP_CWORD", "1")
    done = CliRunner().invoke(app, [], env={"_FASTOCSP_COMPLETE": "bash_complete"}, prog_name="fastocsp")
    assert done.stdout.split() == ["plain,unhold"]
    assert isinstance(app, click.Group)
    assert "unhold" in COMMANDS
