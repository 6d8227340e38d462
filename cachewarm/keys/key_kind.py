"""The kinds of keys that are made here: a module of its own, as options of commands name them."""

from enum import StrEnum


class KeyKind(StrEnum):
    """The kinds of keys that are made here."""

    P256 = "p256"
    P384 = "p384"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
    ED25519 = "ed25519"
