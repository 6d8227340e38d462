"""Typed, checked, immutable settings: the class that ours derive from.

pydantic did this before. Every process and every command reads settings, and building two classes of 80 fields with
pydantic took 0.14 s of CPU and 12 MB in each of them (ADR 0023).
"""

import inspect
import operator
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

PREFIX = "FASTOCSP_"


class ConfigError(ValueError):
    """Every problem of the settings, one a line."""


class SecretStr:
    """A text that is not shown: neither its repr nor its str has it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """Return the text of the secret."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "SecretStr('**********')"

    __str__ = __repr__


@dataclass(frozen=True, kw_only=True)
class SettingField:
    """One setting: its meaning, its default and what its values must be.

    `ge`, `gt` and `le` limit numbers; `pattern` limits a text to some words, "^(a|b)$". `check` returns the value to be
    kept or raises ValueError, and sees the default too. `hidden`: the value is a secret without being a SecretStr.
    """

    description: str
    default: Any = None
    default_factory: Callable[[], Any] | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    pattern: str | None = None
    check: Callable[[Any], Any] | None = None
    hidden: bool = False
    #: From the annotation: the type, its parser, and whether None is a value.
    kind: Any = None
    parse: Callable[[object], object] | None = None
    optional: bool = False

    @property
    def is_secret(self) -> bool:
        """Whether its value is never shown and may come from a file."""
        return self.hidden or self.kind is SecretStr

    def default_value(self) -> Any:
        """Return the default, made now where each process has its own."""
        return self.default_factory() if self.default_factory else self.default

    def convert(self, value: Any) -> Any:
        """Return the value in the setting's type; ValueError in one sentence, which shows no secret."""
        if value is None and self.optional:
            return None
        if self.parse is not None:
            value = self.parse(value)
        value = _typed(value, self.kind)
        for limit, holds, text in (
            (self.ge, operator.ge, "at least"),
            (self.gt, operator.gt, "more than"),
            (self.le, operator.le, "at most"),
        ):
            if limit is not None and not holds(value, limit):
                raise ValueError(f"must be {text} {limit:g}, not {value:g}")
        if self.pattern is not None and not re.search(self.pattern, value):
            raise ValueError(f"must be {self.pattern.strip('^()$').replace('|', ' or ')}, not {value!r}")
        return self.check(value) if self.check is not None else value


def Field(default: Any = None, *, description: str, **rules: Any) -> Any:  # noqa: N802 - reads as a declaration
    """Declare a setting of a class below SettingsBase; `rules` are other fields of SettingField."""
    return SettingField(description=description, default=default, **rules)


class SettingsBase:
    """Immutable settings, each declared as `name: type = Field(default, description=...)`.

    Types are str, int, float, Path, SecretStr and those made by a parser, `Annotated[T, parser]`; each may be optional.
    Raises ConfigError with every problem at once.
    """

    fields: ClassVar[dict[str, SettingField]] = {}

    def __init_subclass__(cls) -> None:
        """Collect the declarations of the class beside those of the class above it."""
        own = {}
        for name, annotation in inspect.get_annotations(cls).items():
            declared = cls.__dict__.get(name)
            if isinstance(declared, SettingField):
                own[name] = _with_type(declared, annotation)
                delattr(cls, name)
        cls.fields = {**cls.fields, **own}

    def __init__(self, **values: Any) -> None:
        problems = [f"{PREFIX}{name.upper()}: no such setting" for name in values if name not in self.fields]
        for name, field in self.fields.items():
            try:
                if name in values:
                    self.__dict__[name] = field.convert(values[name])
                else:
                    default = field.default_value()
                    self.__dict__[name] = field.check(default) if field.check is not None else default
            except (ValueError, TypeError) as error:
                problems.append(f"{PREFIX}{name.upper()}: {error}")
        if problems or (problems := list(self._conflicts())):
            raise ConfigError("\n".join(problems))

    def _conflicts(self) -> Iterator[str]:
        """Yield what is wrong with the relations between settings."""
        return iter(())

    def replace(self, **changes: Any) -> Self:
        """Return settings with these changes, which are checked as all others are."""
        return type(self)(**(self.__dict__ | changes))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change: {name}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash(tuple(map(str, self.__dict__.values())))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.__dict__.items() if not self.fields[name].hidden)
        return f"{type(self).__name__}({', '.join(shown)})"


def _with_type(field: SettingField, annotation: Any) -> SettingField:
    """Return the declaration with what the annotation says."""
    optional, parse = False, None
    if get_origin(annotation) in (Union, types.UnionType):
        optional = True
        (annotation,) = (each for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is Annotated:
        annotation, parse = get_args(annotation)[:2]
    values = {**vars(field), "kind": get_origin(annotation) or annotation, "parse": parse, "optional": optional}
    return SettingField(**values)


def _typed(value: Any, kind: Any) -> Any:
    if isinstance(value, kind) and not isinstance(value, bool):
        return value
    if kind in (int, float) and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        number = _number(value, kind)
        if number is not None and number == number and (kind is float or number == float(value)):  # noqa: PLR0124
            return number
        raise ValueError(f"must be a {'whole number' if kind is int else 'number'}, not {value!r}")
    if isinstance(value, str) and kind in (Path, SecretStr):
        return kind(value)
    raise TypeError(f"must be {kind.__name__}, not {type(value).__name__}")


def _number(value: Any, kind: Any) -> Any:
    try:
        return kind(value)
    except (ValueError, OverflowError):
        return None
