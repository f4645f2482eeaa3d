"""Names and addresses in the form they are kept and compared in."""

import re
import unicodedata

from email_validator import EmailNotValidError, validate_email

from app import usernames
from app.errors import ValidationFailed
from app.identity.structs import LONGEST_ADDRESS, LONGEST_FULL_NAME

NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # ends an IPv4 address, or nothing (WHATWG URL, "ends in a number")
MAX_LOCAL_PART = 64  # octets (RFC 5321 §4.5.3.1.1)

# What has no picture of its own and is needed all the same: joiners in the scripts from Arabic to N'Ko, of India, and
# from Burma to Mongolia; variants of ideographs, of Mongolian letters and of emoji; joiners of emoji. Each only behind
# what it belongs to, so that there are no two in a row and none in Latin.
JOINING = "\u0600-\u07ff\u0840-\u0dff\u1000-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af"
IDEOGRAPHS = "\u3400-\u9fff\U00020000-\U000323af"
EMOJI = "\u00a9\u00ae\u203c-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
IN_PLACE = re.compile(
    f"(?<=[{JOINING}])[\u200c\u200d]"
    f"|(?<=[{IDEOGRAPHS}])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
    "|(?<=[\u1820-\u18aa])[\u180b-\u180f]"
    f"|(?<=[{EMOJI}])[\ufe0e\ufe0f]"
    "|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    f"|(?<=[{EMOJI}\ufe0f])\u200d(?=[{EMOJI}])"
)
# What Python calls printable and nobody sees: Default_Ignorable_Code_Point (UAX #44) and three blanks.
HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
SHAPES = {"Mn": "n", "Me": "n", "Mc": "c", "Zs": " "}
MARKS = re.compile("(?:^| )[nc]|n{5}")  # four on a letter are enough (UTS #39 §5.4); more paint over other lines
# Letters that NFKC makes others of, and that names are spelt with: ordinals of Spanish, digraphs of Dutch and Catalan,
# a small w of the Salish languages; some of Armenian, Kazakh, Thai and Lao; Japanese, also of half width, and Korean.
SPELT = re.compile(
    "[\u00aa\u00ba\u0132\u0133\u013f\u0140\u02b7\u0587\u0675-\u0678\u0e33\u0eb3\u0edc\u0edd"
    "\u309f\u30ff\u3131-\u318e\uff66-\uffdc]"
)
# Letters of phonetic alphabets, small capitals among them, but for those that languages of Africa, the Caucasus and
# North America are written with.
PHONETIC = re.compile(
    "(?![\u0253\u0254\u0256\u0257\u0259\u025b\u0260\u0263\u0265\u0266\u0268\u0269\u026c\u0272\u0275\u0283\u0288-\u028c"
    "\u0292\u0294])"
    "[\u0250-\u02af\u1d00-\u1dbf\u2c6d\u2c7b\ua730\ua731\ua7ac\ua7ae\ua7af\ua7fa\uab30-\uab68\U0001df00-\U0001dfff]"
)
ALPHABETS = {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC"}  # whose letters are taken for each other's


def local_username(text: str) -> str:
    """A local username as it is written; so never an e-mail address.

    Raises:
        ValidationFailed: it is too long, or has characters that a local name may not have.
    """
    if not usernames.fits(text):
        raise ValidationFailed(
            ("username", "letters, digits, dot, underscore and hyphen, beginning with a letter or digit")
        )
    return text


def email(text: str) -> str:
    """An e-mail address in lower case with its domain in ASCII (IDNA); dots and plus signs stay, they mean something.

    Raises:
        ValidationFailed: it is not an address, or it is written to be taken for another. (A domain cannot be: people
            are shown its ASCII.)
    """
    found = comparable_email(text)
    if found is None:
        raise ValidationFailed(("email", "is not an e-mail address"))
    local_part = found.rpartition("@")[0]
    if unicodedata.normalize("NFKC", local_part) != local_part or HIDDEN.search(local_part):
        raise ValidationFailed(("email", "has characters that look like others, or like nothing"))
    _one_alphabet_a_word(local_part, "email")
    _plain_letters(local_part, "email")
    return found


def comparable_email(text: str) -> str | None:
    try:
        checked = validate_email(text, check_deliverability=False, globally_deliverable=False, test_environment=True)
    except EmailNotValidError:
        return None
    local_part = checked.local_part.lower()  # some letters are longer then
    if NUMBER.fullmatch(checked.ascii_domain.rpartition(".")[2]) or len(local_part.encode()) > MAX_LOCAL_PART:
        return None
    normal = f"{local_part}@{checked.ascii_domain.lower()}"
    return normal if normal.isprintable() and len(normal.encode()) <= LONGEST_ADDRESS else None


def full_name(text: str | None) -> str | None:
    """What a person is called: a label, each word of it in one alphabet, of letters that languages are written with.

    Raises:
        ValidationFailed: it is no label, or too long as it is kept, or has a word like "\u0410dmin", whose first letter
            is Russian, or like "\uff21dmin", whose first is only drawn otherwise.
    """
    name = _called(text)
    if name is not None and len(name) > LONGEST_FULL_NAME:
        raise ValidationFailed(("full_name", f"has more than {LONGEST_FULL_NAME} characters as it is kept (NFC)"))
    return name


def username_elsewhere(text: str) -> str:
    """What another service calls its user, as it is written there; people here take him for whom they read.

    Raises:
        ValidationFailed: as for a full name; also blanks that nobody sees.
    """
    if _called(text) != text:
        raise ValidationFailed(("username", "is not written as a name is kept"))
    return text


def _called(text: str | None) -> str | None:
    name = label(text, "full_name")
    if name is not None:
        _one_alphabet_a_word(name, "full_name")
        _plain_letters(name, "full_name")
    return name


def label(text: str | None, field: str) -> str | None:
    """A name for people to read, in NFC, one plain space between words (RFC 8266 §2.1); None if nothing is left.

    Raises:
        ValidationFailed: it has control or invisible characters, lone surrogates, or marks without a letter.
    """
    if text is None:
        return None
    spaced = (" " if unicodedata.category(character) == "Zs" else character for character in text)
    name = " ".join(filter(None, unicodedata.normalize("NFC", "".join(spaced)).split(" ")))
    seen = IN_PLACE.sub("", name)
    if not seen.isprintable() or HIDDEN.search(seen):
        raise ValidationFailed((field, "has characters that do not print"))
    if MARKS.search("".join(SHAPES.get(unicodedata.category(character), "x") for character in seen)):
        raise ValidationFailed((field, "has marks without a letter, or too many on one"))
    return name or None


def _one_alphabet_a_word(text: str, field: str) -> None:
    used: set[str] = set()
    for character in text:
        if character.isalpha():
            used |= ALPHABETS & {unicodedata.name(character, "").partition(" ")[0]}
        elif not unicodedata.combining(character):
            used.clear()
        if len(used) > 1:
            raise ValidationFailed((field, "mixes the letters of two alphabets in a word"))


def _plain_letters(text: str, field: str) -> None:
    for letter in filter(str.isalpha, text):
        other = unicodedata.normalize("NFKC", letter) != letter and SPELT.fullmatch(letter) is None
        if other or PHONETIC.fullmatch(letter):
            raise ValidationFailed((field, "has letters that only look like others"))
