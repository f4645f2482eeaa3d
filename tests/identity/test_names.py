"""Names of people and devices, and addresses: what is kept, and what is refused because it would deceive a reader."""

import unicodedata

import msgspec
import pytest
from httpx import AsyncClient

from app.errors import ValidationFailed
from app.identity import names
from app.identity.structs import LONGEST_FULL_NAME
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem, register

ZWSP, ZWNJ, ZWJ, RLO, FSI, BOM = "\u200b", "\u200c", "\u200d", "\u202e", "\u2068", "\ufeff"

LEGITIMATE = [
    "Ada Lovelace",
    "Seán O\u2019Casey-Smith, Jr. (3rd)",
    "Gödel & Søn №7",
    "Nguyễn Thị Hằng",
    "M\u00aa José & J\u00ba",
    "Van D\u0133k",
    "Co\u0140lell",
    "\u018fliyev \u018fli o\u011flu, \u0259",
    "Kofi \u0186k\u0254mf\u0254",
    "\u0198asim \u018aan \u0181a\u0253a \u0257an",
    "Sahai\u0294a May",
    "x\u02b7m\u0259",
    "Kamehame\u02bbha",
    "\u054d\u0587\u0561\u056f",
    "\u0e04\u0e33 \u0e2d\u0e33\u0e19\u0e32\u0e08",
    "\u0eab\u0ebc\u0ea7\u0e87 \u0ea5\u0eb3 \u0edd\u0eb2",
    "\uff94\uff8f\uff80\uff9e \uff80\uff9b\uff70",
    "\u3131\u3134",
    "İbrahim Ça\u011fr\u0131",
    "Анна Сергеевна",
    "Анна Smith",  # two alphabets, each in words of its own
    "Αθηνά",
    "ნინო ბერიძე",
    "Արամ",
    "محمد عبد الله",
    "مُحَمَّدٌ",
    f"امیر{ZWNJ}حسین",
    f"محمد{ZWNJ}رضا",  # where it changes nothing; keyboards write it all the same
    "יִצְחָק בֶּן־צְבִי",
    "ד״ר כהן",
    "สมชาย ใจดี",
    "ณัฐวุฒิ",
    f"क्{ZWJ}षमा शर्मा",
    f"श्{ZWNJ}रीराम",
    f"മോഹന്{ZWJ}",  # the chillu of before Unicode 5.1, at the end of a word
    f"ශ්{ZWJ}රී",
    f"র{ZWJ}\u09cd\u09af\u09beন্ডি",
    "ਗੁਰਪ੍ਰੀਤ ਸਿੰਘ",
    "இளையராஜா",
    "བསྟན་འཛིན་རྒྱ་མཚོ",
    "အောင်ဆန်းစုကြည်",
    "សុខា",
    "ᠪᠠᠶᠠᠷ",
    "\u1828\u180e\u1820",  # with a Mongolian vowel separator
    "ኃይለ ሥላሴ",
    "王小明",
    "山田 太郎",
    "葛\U000e0100城",  # a variant of an ideograph (UTS #37)
    "𠮷野家",
    "김철수",
    "A子",
    "☂ 👍🏽 \u2764\ufe0f 1\ufe0f\u20e3",
    f"👩{ZWJ}💻 🏳\ufe0f{ZWJ}🌈",
]


@pytest.mark.parametrize("name", LEGITIMATE)
def test_a_name_is_kept_as_people_write_it(name: str) -> None:
    assert names.full_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("  Ada   Lovelace ", "Ada Lovelace"),
        ("山田\u3000太郎", "山田 太郎"),
        ("Ada\u00a0\u202f\u2009Lovelace\u00a0", "Ada Lovelace"),
        ("Nguye\u0302\u0303n", "Nguyễn"),
        ("\u212bngstrom", "\u00c5ngstrom"),
        ("", None),
        (" \u00a0\u3000 ", None),
        (None, None),
    ],
)
def test_a_name_is_kept_in_one_form(written: str | None, kept: str | None) -> None:
    assert names.full_name(written) == kept
    assert names.full_name(kept) == kept


DECEIVING = [
    "Ada\x00",
    "Ada\nLovelace",
    "Ada\tLovelace",
    "Ada\x7f",
    "Ada\x9b31m",
    "Ada\u2028Lovelace",
    f"Ada{RLO}ecalevoL",
    f"{FSI}Ada",
    "Ada\u200f",
    "Ada\u061c",
    f"Ada{ZWSP}",
    f"Ad{ZWJ}a",
    f"Ad{ZWNJ}a",
    f"محمد{ZWNJ}{ZWNJ}رضا",
    f"{ZWJ}क",
    f"Ada {ZWJ}",
    f"👩{ZWJ}",
    f"👩{ZWJ}Ada",
    f"{BOM}Ada",
    "Ada\u2060",
    "A\u00adda",
    "Ada\U000e0041",
    "🏴\U000e0067\U000e007f",
    "Ada\ufe0f",
    "Ada\ufe00",
    "1\ufe0f",
    "葛\U000e0100\U000e0101",
    "Ada\U000e0100",
    "Ada\u180b",
    "Ada\u180e",
    "\u115f",
    "\u1160",
    "\u3164",
    "\uffa0\uffa0",
    "\u2800",
    "\U0001d159",
    "Ada\u034f",
    "\u17b4",
    "\u17b5",
    "\ufff9Ada\ufffb",
    "\ue000",
    "\U0010ffff",
    "\ud83d",
]


@pytest.mark.parametrize("name", DECEIVING)
def test_nothing_that_does_not_print_is_in_a_name(name: str) -> None:
    assert refusal(name) == "has characters that do not print"


@pytest.mark.parametrize(
    "name",
    [
        "\u0301Ada",
        "\u0301",
        "Ada \u0301",
        "Ada \u0903",
        "\u0903",
        "\u20dd",
        "Ada\u0316\u0317\u0318\u0319\u031c",
        "A" + 20 * "\u0310" + "da",
        "A\u20dd\u20dd\u20dd\u20dd\u20dd",
    ],
)
def test_marks_stand_on_letters_and_four_are_enough(name: str) -> None:
    assert refusal(name) == "has marks without a letter, or too many on one"
    assert names.full_name("A\u0316\u0317\u0318\u0319") == "A\u0316\u0317\u0318\u0319"


@pytest.mark.parametrize(
    "name",
    [
        "\u0410dmin",
        "P\u0430ypal Support",
        "Ada \u039covelace",
        "Ad\u0301\u0430",
        "Ada\u0561",
        "\u13aad",
        "\u2c9fbama",
    ],
)
def test_no_word_of_a_name_mixes_alphabets(name: str) -> None:
    assert refusal(name) == "mixes the letters of two alphabets in a word"


@pytest.mark.parametrize(
    "name",
    [
        "\U0001d400da",
        "\U0001d504dmin",
        "\U0001d5f7\U0001d5fc\U0001d5f2",
        "\uff21da",
        "\uff21\uff24\uff21",
        "\ufb01ona",
        "\u017fally",
        "\u212eda\u2115",
        "Ada\u207f",
        "\u1d00dmin",
        "\u1d00\u1d05\u1d0d\u026a\u0274",
        "\ua730red",
        "Geor\u0261e",
        "\u0251da",
        "\ua7aeda",
        "\uab35red",
        "\u03d5\u03af\u03bb\u03b7",
        "\ufe8e\ufe97",
    ],
)
def test_no_letter_of_a_name_only_looks_like_another(name: str) -> None:
    assert refusal(name) == "has letters that only look like others"


def test_a_name_is_as_long_as_it_is_kept() -> None:
    """U+0958 is kept as a letter and a mark."""
    name = "\u0958" * (LONGEST_FULL_NAME // 2)

    assert names.full_name(name) == "\u0915\u093c" * (LONGEST_FULL_NAME // 2)
    with pytest.raises(ValidationFailed):
        names.full_name(f"{name}\u0915")


def test_an_address_is_as_long_as_it_is_kept() -> None:
    """U+023A has two octets, and three in small letters; RFC 5321 gives the local part 64 of them."""
    assert names.comparable_email("\u023a" * 21 + "@example.test") == "\u2c65" * 21 + "@example.test"
    assert names.comparable_email("\u023a" * 22 + "@example.test") is None


def test_a_device_may_be_called_what_it_is_printed_on() -> None:
    assert names.label("µTorrent-\u03b2eta", "device_name") == "µTorrent-\u03b2eta"


def refusal(name: str) -> str:
    with pytest.raises(ValidationFailed) as refused:
        names.full_name(name)
    assert name not in str(refused.value.members)
    errors = msgspec.convert(refused.value.members["errors"], list[dict[str, str]])
    assert [error["field"] for error in errors] == ["full_name"]
    return errors[0]["message"]


# ---- over HTTP ----------------------------------------------------------------------------------------------------


async def test_a_name_is_answered_in_the_form_in_which_it_is_kept(client: AsyncClient, admin: SignedIn) -> None:
    body = {"username": new_name(), "password": new_password(), "full_name": " Nguye\u0302\u0303n\u3000Thị "}
    registered = (await client.post("/register", json=body, headers=from_ip())).json()
    session = await log_in(client, Person(registered["id"], body["username"], body["password"]))

    changed = await session.ask("PATCH", "/me", json={"full_name": "Zo\u00a0 Ha\u0308ndel"})
    emptied = await session.ask("PATCH", "/me", json={"full_name": " "})
    by_admin = await admin.ask("PATCH", f"/users/{session.user_id}", json={"full_name": "A\u030angstro\u0308m "})

    assert registered["full_name"] == "Nguyễn Thị"
    assert changed.json()["full_name"] == "Zo Händel"
    assert emptied.json()["full_name"] is None
    assert by_admin.json()["full_name"] == "Ångström"


@pytest.mark.parametrize("name", [f"Ada{RLO}", f"Ada{ZWSP}", "\u3164", "\u0301", "\u0410dmin", "\x00"])
async def test_whoever_sets_a_name_may_not_deceive_by_it(session: SignedIn, admin: SignedIn, name: str) -> None:
    new = {"username": new_name(), "password": new_password(), "full_name": name}
    answers = [
        await session.client.post("/register", json=new, headers=from_ip()),
        await session.ask("PATCH", "/me", json={"full_name": name}),
        await admin.ask("POST", "/users", json=new),
        await admin.ask("PATCH", f"/users/{session.user_id}", json={"full_name": name}),
    ]

    assert {answer.status_code for answer in answers} == ({400} if name == "\x00" else {422})
    assert (await session.ask("GET", "/me")).json()["full_name"] is None


async def test_a_device_is_called_what_is_left_of_its_name(client: AsyncClient, ada: Person) -> None:
    await log_in(client, ada, device_name="  Ada's\u00a0laptop ")
    session = await log_in(client, ada, device_name=" ")
    listed = (await session.ask("GET", "/me/sessions")).json()["items"]

    assert {item["device_name"] for item in listed} == {"Ada's laptop", None}


async def test_a_name_is_found_however_a_keyboard_composes_it(client: AsyncClient, admin: SignedIn) -> None:
    word = new_name()
    person = await register(client, full_name=f"{word} Hằng")

    decomposed = unicodedata.normalize("NFD", f" {word} Hằng")
    found = (await admin.ask("GET", "/users", params={"search": decomposed})).json()["items"]

    assert [each["id"] for each in found] == [person.id]


# ---- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Ada.Lovelace+x@Example.ORG", "ada.lovelace+x@example.org"),
        ("Jose\u0301@example.org", "josé@example.org"),
        ("анна@example.org", "анна@example.org"),
        ("анна.smith@example.org", "анна.smith@example.org"),
        ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
        ("संपर्क@example.org", "संपर्क@example.org"),
        ("ada@\u0430da.example", "ada@xn--da-6kc.example"),  # to be seen in its ASCII
        ("\u212aate@example.org", "kate@example.org"),  # the Kelvin sign
    ],
)
def test_an_address_is_kept_in_one_form(written: str, kept: str) -> None:
    assert names.email(written) == kept
    assert names.email(kept) == kept


@pytest.mark.parametrize(
    "email",
    [
        "\u0430da@example.org",
        "pay.p\u0430l@example.org",
        "ad\u03b1@example.org",
        "\uff41da@example.org",
        "\U0001d41ada@example.org",
        "\ufb01ona@example.org",
        "geor\u0261e@example.org",
        "ada\u034f@example.org",
        "ada\u3164@example.org",
        "ada\ufe0f@example.org",
        f"ada{ZWSP}@example.org",
        f"ada{ZWNJ}@example.org",
        f"{RLO}ada@example.org",
        "ada@exa\u200bmple.org",
        "ada\u00a0@example.org",
        "ada\r\nBcc: x@example.org",
    ],
)
async def test_an_address_cannot_be_taken_for_another(client: AsyncClient, email: str) -> None:
    body = {"username": new_name(), "password": new_password(), "email": email}
    errors = problem(await client.post("/register", json=body, headers=from_ip()), 422, "validation_failed")["errors"]

    assert [error["field"] for error in errors] == ["email"]
    assert email not in str(errors)
