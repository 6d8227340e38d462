"""Settings as the environment of a child process: what the parent was told, the child is told."""

from pydantic import SecretStr

from responder.config import PREFIX, EdgeSettings


def as_environment(settings: EdgeSettings) -> dict[str, str]:
    """FASTOCSP_* names and texts that `load_settings` reads back as the same settings."""
    values = {field: getattr(settings, field) for field in type(settings).model_fields}
    return {PREFIX + field.upper(): _text(value) for field, value in values.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{name}:{key}{':admin' if admin else ''}" for key, (name, admin) in value.items())
    return str(value)
