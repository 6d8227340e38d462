"""Commands of click, made from functions whose parameters are annotated with `Option` or `Argument`.

A signature names each option once, and the type checker sees the types that the command line is converted to. It is
the part of typer that our commands used; typer itself loads pydantic, which took longer than most commands (ADR 0023).
"""

import inspect
import types
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import click

F = TypeVar("F", bound=Callable[..., Any])
#: Words of Option and Argument that are about the type of a value, not about the parameter.
_OF_PATHS = ("exists", "dir_okay", "file_okay")
_OF_NUMBERS = ("min", "max")


class Spec(NamedTuple):
    """How a parameter is given on the command line."""

    kind: type[click.Parameter]
    names: tuple[str, ...]
    attributes: dict[str, Any]


def Option(*names: str, **attributes: Any) -> Spec:  # noqa: N802 - reads as a type in an annotation
    """Annotate a parameter as an option; without names it is the parameter's own, with dashes.

    `attributes` are click's, and `min`, `max` of a number or `exists`, `dir_okay`, `file_okay` of a path.
    """
    return Spec(_Option, names, attributes)


def Argument(**attributes: Any) -> Spec:  # noqa: N802 - as Option
    """Annotate a parameter as an argument, with the same attributes as an option."""
    return Spec(_Argument, (), attributes)


class _Option(click.Option):
    def make_metavar(self, ctx: click.Context) -> str:  # noqa: ARG002
        return self.metavar or _kind_of_value(self.type)


class _Argument(click.Argument):
    def make_metavar(self, ctx: click.Context) -> str:  # noqa: ARG002
        metavar = self.metavar or self.name.upper()
        return metavar if self.required or metavar.startswith("[") else f"[{metavar}]"


class _EnumChoice(click.Choice[str]):
    """One of the values of an enumeration, converted to its member."""

    def __init__(self, members: type[Enum]) -> None:
        super().__init__([member.value for member in members])
        self._members = members

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, self._members) else self._members(super().convert(value, param, ctx))


class Group(click.Group):
    """Commands below one word, each a function."""

    def __init__(self, *, help: str, **attributes: Any) -> None:  # noqa: A002 - click's word
        super().__init__(help=help, no_args_is_help=True, **attributes)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def command(self, name: str, *, hidden: bool = False) -> Callable[[F], F]:  # type: ignore[override]
        """Return a decorator that adds a function as the command `name`; `hidden`: help does not list it."""

        def add(function: F) -> F:
            command = make_command(function, name)
            command.hidden = hidden
            self.add_command(command)
            return function

        return add


def make_command(function: Callable[..., Any], name: str) -> click.Command:
    """Return the command that calls the function; its docstring is the help."""
    return click.Command(
        name,
        callback=function,
        params=[_parameter(each) for each in inspect.signature(function).parameters.values()],
        help=inspect.getdoc(function),
    )


def _parameter(parameter: inspect.Parameter) -> click.Parameter:
    if get_origin(parameter.annotation) is not Annotated:
        raise TypeError(f"parameter {parameter.name} is annotated with neither Option nor Argument")
    kind, spec = get_args(parameter.annotation)[:2]
    attributes = dict(spec.attributes)
    value_type, multiple = _value_type(kind)
    default = parameter.default
    if default is inspect.Parameter.empty:
        attributes["required"] = True
    elif not (multiple and not default):
        attributes["default"] = default.value if isinstance(default, Enum) else default
    if multiple:
        attributes["callback"] = _as_list
    of_type = {word: attributes.pop(word) for word in (*_OF_PATHS, *_OF_NUMBERS) if word in attributes}
    if spec.kind is _Argument:
        attributes["nargs"] = -1 if multiple else 1
        return _Argument([parameter.name], type=_click_type(value_type, of_type), **attributes)
    name = parameter.name.replace("_", "-")
    names = spec.names or ((f"--{name}/--no-{name}",) if value_type is bool else (f"--{name}",))
    if value_type is bool:
        attributes["is_flag"] = True
    else:
        attributes["type"] = _click_type(value_type, of_type)
    attributes.setdefault("show_default", default is not False and default != "")
    return _Option([parameter.name, *names], multiple=multiple, **attributes)


def _as_list(_: click.Context, __: click.Parameter, values: Iterable[Any] | None) -> list[Any]:
    return list(values or ())


def _value_type(kind: Any) -> tuple[Any, bool]:
    """Return the type of one value, and whether several are taken, from `T`, `T | None` or `list[T]`."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is list:
        return get_args(kind)[0], True
    return kind, False


def _click_type(kind: Any, of_type: dict[str, Any]) -> click.ParamType[Any, Any]:
    if kind is Path:
        return click.Path(path_type=Path, **of_type)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _EnumChoice(kind)
    if of_type:
        return (click.IntRange if kind is int else click.FloatRange)(**of_type)
    simple: dict[Any, click.ParamType[Any, Any]] = {int: click.INT, float: click.FLOAT, str: click.STRING}
    return simple[kind]


def _kind_of_value(kind: click.ParamType[Any, Any]) -> str:
    if isinstance(kind, click.Choice):
        return f"<{'|'.join(kind.choices)}>"
    name = {"integer": "int", "text": "str", "integer range": "int range", "directory": "dir"}.get(kind.name, kind.name)
    return f"<{name}>"
