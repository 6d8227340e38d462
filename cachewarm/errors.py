"""Errors of the write side, by what to do about them."""


class CachewarmError(Exception):
    """Base: the text is a sentence for the operator."""


class Transient(CachewarmError):
    """Try again, with back-off and jitter."""


class Refused(CachewarmError):
    """Never try again: the request itself is wrong, or what was made did not pass its check."""


class SignerUnavailable(Refused):
    """The CA signer cannot sign at the moment, for one issuer or for all: it works again later."""


class SignerAway(SignerUnavailable):
    """The CA signer does not run or does not answer: nothing that needs a CA's key works until it does."""


class Fatal(CachewarmError):
    """The state is unknown: exit; a restart replays."""


class Interrupted(CachewarmError):
    """The process was asked to stop while it waited."""
