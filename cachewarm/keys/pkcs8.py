"""Encrypted PKCS#8 with as many rounds as a passphrase needs today, readable by openssl, GnuTLS and Java.

RFC 5958 (PKCS#8), RFC 8018 (PBES2: PBKDF2 with HMAC-SHA256, AES-256-CBC). The library writes 2,048 rounds and takes no
other number.
"""

import os

from asn1crypto import algos, core, keys, pem
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from cachewarm.keys.envelope import ITERATIONS


def encrypted_pem(der: bytes, passphrase: bytes) -> bytes:
    """Return the PEM of an unencrypted PKCS#8 key's DER, encrypted."""
    salt, vector = os.urandom(16), os.urandom(16)
    key = PBKDF2HMAC(hashes.SHA256(), 32, salt, ITERATIONS).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(vector)).encryptor()
    octets = encryptor.update(padder.update(der) + padder.finalize()) + encryptor.finalize()
    derivation = {"salt": algos.Pbkdf2Salt("specified", core.OctetString(salt)), "iteration_count": ITERATIONS}
    algorithm = {
        "algorithm": "pbes2",
        "parameters": {
            "key_derivation_func": {
                "algorithm": "pbkdf2",
                "parameters": {**derivation, "prf": {"algorithm": "sha256"}},
            },
            "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": vector},
        },
    }
    info = keys.EncryptedPrivateKeyInfo({"encryption_algorithm": algorithm, "encrypted_data": octets})
    return bytes(pem.armor("ENCRYPTED PRIVATE KEY", info.dump()))
