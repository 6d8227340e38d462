"""Settings as classes: types, limits, secrets, relations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from responder.setting_fields import ConfigError, Field, SecretStr, SettingsBase
from responder.setting_values import parse_size


class Base(SettingsBase):
    """What a class below inherits."""

    folder: Path = Field(Path("here"), check=lambda path: path.absolute(), description="a folder")
    size: Annotated[int, parse_size] = Field(16, ge=2, le=1024, description="a size")


class Sample(Base):
    """One setting of each kind."""

    share: float | None = Field(None, gt=0, description="a share")
    word: str = Field("one", pattern="^(one|two)$", description="a word")
    password: SecretStr | None = Field(None, description="a secret")
    keys: tuple[str, ...] = Field(default_factory=tuple, hidden=True, description="more secrets")

    def _conflicts(self) -> Iterator[str]:
        if self.word == "two" and self.share is None:
            yield "SHARE must be set with WORD=two"


def problems(**values: Any) -> list[str]:
    """Return what is wrong with these values."""
    with pytest.raises(ConfigError) as caught:
        Sample(**values)
    return str(caught.value).splitlines()


def test_texts_are_converted_to_the_annotated_types() -> None:
    """Parsers come first; values that have the type already are kept; checks see defaults too."""
    made = Sample(size="1k", share="0.5", word="two", password="x", folder="there")
    assert (made.size, made.share, made.word, made.password) == (1024, 0.5, "two", SecretStr("x"))
    assert made.folder == Path("there").absolute()
    assert Sample().folder == Path("here").absolute()
    assert isinstance(Sample(share=1).share, float)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "1"}, "FASTOCSP_SIZE: must be at least 2, not 1"),
        ({"size": "2k"}, "FASTOCSP_SIZE: must be at most 1024, not 2048"),
        ({"size": 2.5}, "FASTOCSP_SIZE: must be a whole number, not 2.5"),
        ({"size": True}, "FASTOCSP_SIZE: must be int, not bool"),
        ({"size": None}, "FASTOCSP_SIZE: must be int, not NoneType"),
        ({"share": "0"}, "FASTOCSP_SHARE: must be more than 0, not 0"),
        ({"share": "nan"}, "FASTOCSP_SHARE: must be a number, not 'nan'"),
        ({"share": "much"}, "FASTOCSP_SHARE: must be a number, not 'much'"),
        ({"word": "three"}, "FASTOCSP_WORD: must be one or two, not 'three'"),
        ({"word": "two"}, "SHARE must be set with WORD=two"),
        ({"wrod": "two"}, "FASTOCSP_WROD: no such setting"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_its_setting_and_its_limit(given: dict[str, Any], message: str) -> None:
    """In one line."""
    assert problems(**given) == [message]


def test_every_problem_is_reported_at_once() -> None:
    """Relations are checked only where each value is right."""
    assert len(problems(size="x", word="three", share="-1")) == 3


def test_secrets_are_in_no_text() -> None:
    """Neither repr nor the message about a wrong type has them."""
    shown = repr(Sample(password="verysecret", keys=("alsoverysecret",)))
    assert "verysecret" not in shown
    assert "word='one'" in shown
    assert "verysecret" not in f"{SecretStr('verysecret')} {SecretStr('verysecret')!r}"
    assert "123456" not in problems(password=123456)[0]
    assert [name for name, field in Sample.fields.items() if field.is_secret] == ["password", "keys"]


def test_settings_do_not_change_but_can_be_replaced() -> None:
    """The replacement is checked too."""
    made = Sample()
    with pytest.raises(AttributeError):
        made.size = 4
    assert made.replace(size=4) == Sample(size=4) != made
    assert hash(made.replace(size=4)) == hash(Sample(size=4))
    with pytest.raises(ConfigError):
        made.replace(size=1)
