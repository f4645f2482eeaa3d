"""Hashes that other software has made, and such as cost too much.

FOREIGN was written by passlib 1.7.4, Django 5.2 and Werkzeug 3.1 themselves.
"""

import pytest

PASSWORD = "correct horse Zürich 9"
FOREIGN = {
    "passlib, PBKDF2-SHA256": "$pbkdf2-sha256$1000$fi/lXGstpVQqhRDifA9BqA$DKZTTtqIjJ2IsIBZnsRmDs56WbfTgbNvYgouNnHXB6A",
    "passlib, PBKDF2-SHA512": "$pbkdf2-sha512$1000$nrM2Ruid05rzntN6Tyml9A$"
    "cXdxYXzChsExv6IEhBlFsi.2jMGC01tnUJSWRTHK28pra7NQlaypUDxbs7k1kAjF4/LdMXnHS7EcjSHjnXBgAw",
    "passlib, PBKDF2-SHA1": "$pbkdf2$1000$Tqk1BuCc09qbUwrB2HvPeQ$Xo8BWCLjXu5A.hHovk0eN7BlSKA",
    "passlib, scrypt": "$scrypt$ln=8,r=8,p=1$YgxhbA2BkFKqldL635vTOg$k6b2ygMPa89Wl6uAZ5u3swUUDupCAoVjt+tG9Gvg3O0",
    "passlib, bcrypt 2a": "$2a$04$b46DIDsT8O7FUoWbtUTyTOUeTCw3epjSgUThNpWbgN8EkSnmW6pJK",
    "passlib, bcrypt 2b": "$2b$04$LX7GNWsi1Z8i2lIOT3oDZeqtQT92KnFxjLeactw5QwsMIdYfCBcJ2",
    "passlib, bcrypt 2y": "$2y$04$T3Mw7u2cn5xqw8aFFXqJVOPNqPGby.ieEaH47F0rUkCf9nAMyd7PW",
    "passlib, argon2i": "$argon2i$v=19$m=64,t=1,p=1$MmZM6f1/rzUGgNA6x9h7jw$1PuDtmIGzM9v5QA28FAiOPrAZVn0SfWGMdmSnwQkY+Q",
    "passlib, argon2d": "$argon2d$v=19$m=64,t=1,p=1$JKR0jtF6L2XsnZNSyjnnvA$gFogzQPCGHIUgQ3C9JiGDxNSUdCbr39AdSLwkNZOR4g",
    "passlib, argon2id": "$argon2id$v=19$m=64,t=1,p=1$NiYE4Pyfk/K+17o3Rujdew$"
    "FfD99/e88cLxMpz7eUlwb6RvXzRtfdBBaAq62QbRWYc",
    "Django, PBKDF2-SHA256": "pbkdf2_sha256$1000$jADK2Dqnn5d1ge7bYCyDwB$Zh77NrbyYifo93UgVqMLecJ4i5zdOm7yoIVRMe+X48g=",
    "Django, PBKDF2-SHA1": "pbkdf2_sha1$1000$4ZvN2wLL72zSKXEq86YNyx$jaGYkqLK8iLyS+CZR5a8WevMdZI=",
    "Django, argon2": "argon2$argon2id$v=19$m=64,t=1,p=1$enpnSHVyREJpcG1LMlN5d1lQVW1OQw$"
    "9rlR6rR0jlUrZyxQ7UVVOIi0CaFCHizch4DMKaudyIQ",
    "Django, bcrypt": "bcrypt$$2b$04$GWIUygTSuMpABc.UlOWQvOYENV7TP8DyMsjFa/g5Sz8va3pQOqlMO",
    "Django, bcrypt of SHA256": "bcrypt_sha256$$2b$04$M9mWoyk80CutXbVTnCyIJ.ImmAfggT.rhzfmemqFCQtXSN9yQ7dni",
    "Django, scrypt": "scrypt$256$ZiA3BywL7Ugb1DhlrCneHU$8$5$"
    "WqzHpRICnCWbokQXwh9DoR3CIqx+5i3M5Yip/pyuj/NHbc46zyXKG5CQf7hgoD7yBUw7ONEIVhCdJbtMbQVdUA==",
    "Werkzeug, scrypt": "scrypt:256:8:1$YZeMvkqDZy546VCx$d3e5b8906d5ed80476693009ef3f82cb2bd5d358718caea1a3c9c78a20fe"
    "8dfe07e536798b095bc31426ca31e3ab33e3bb0d01c49050cdd363bf41001a85886e",
    "Werkzeug, PBKDF2-SHA1": "pbkdf2:sha1:1000$gp820XIphLc0RI77$f26e0b0353c9ec58c55e32ac0887b3eecf231e7c",
    "Werkzeug, PBKDF2-SHA256": "pbkdf2:sha256:1000$hOMaqcWfnGqQQE85$"
    "43fa7530682fbb13961b983b34f3a51f7d689470ae753ffdc7d6613ef6723ac5",
    "Werkzeug, PBKDF2-SHA512": "pbkdf2:sha512:1000$FzUk1TdxSo0LdLnu$b089d77e53c910bc701e07d5f7ee7d63b66cbb18c9b2c8d51d"
    "e9c572e1b87e7efdcaa4cbc6a9e4d93789388407e0a479282a7a76849625942c94ed1cdca78efa",
}
each_kind = pytest.mark.parametrize("stored", FOREIGN.values(), ids=FOREIGN.keys())

BCRYPT_TAIL = "GWIUygTSuMpABc.UlOWQvOYENV7TP8DyMsjFa/g5Sz8va3pQOqlMO"
SALT, SHORT, LONG = ("A" * length for length in (22, 43, 86))  # in base64: 16, 32 and 64 bytes of nothing
BOMBS = [
    f"$2b$31${BCRYPT_TAIL}",
    f"bcrypt_sha256$$2b$31${BCRYPT_TAIL}",
    f"$pbkdf2-sha512$4294967295${SALT}${LONG}",
    f"pbkdf2_sha256$4294967295$salt${SHORT}=",
    f"pbkdf2:sha1:4294967295$salt${'0' * 40}",
    f"$scrypt$ln=30,r=8,p=1${SALT}${SHORT}",
    f"$scrypt$ln=9223372036854775808,r=8,p=1${SALT}${SHORT}",
    f"scrypt$1073741824$salt$8$1${LONG}==",
    f"scrypt:1073741824:8:1$salt${'0' * 128}",
    f"$argon2id$v=19$m=4194304,t=1,p=1${SALT}${SHORT}",
    f"argon2$argon2id$v=19$m=4194304,t=1,p=1${SALT}${SHORT}",
]
