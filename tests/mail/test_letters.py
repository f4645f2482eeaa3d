"""What a letter says: in whose language, by whose template, and whatever people have put into their names."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError, TemplateNotFound

from app.mail.letters import KINDS, OURS, SAMPLE, BadAddress, Letters
from app.mail.outbox import Link
from app.mail.queries import Claimed
from app.uuid7 import uuid7
from tests.mail.conftest import TOKEN_ID, link
from tests.replica import settings_for

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "ada\r\nBcc: eve@example.org",
    "ada\nSubject: Won\n\nClick here",
    "{{ 7*7 }}{% for x in () %}",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=?utf-8?q?a=0D=0ABcc:_eve=40example.org?=",
    "=?utf-8?b?QmNjOiBldmU=?=",
    "ada\u202egro.live",
    "a\u2028b\x00c\x85d",
    "x" * 100_000,
    "ä" * 300,
    "🦊" * 80,
]


def letters(theirs: Path | None = None, **settings: Any) -> Letters:
    given: dict[str, Any] = {"mail_from": "Gatehouse <no-reply@example.org>", "mail_templates_dir": theirs, **settings}
    return Letters(replace(settings_for("", ""), **given), link)


def claimed(kind: str = "password.changed", **fields: Any) -> Claimed:
    context = {**SAMPLE, **fields.pop("context", {})}
    given = {
        "id": uuid7(),
        "recipient": "ada@example.org",
        "language": None,
        "links": {name: Link(name, TOKEN_ID) for name in KINDS.get(kind, ())},
        "created_at": datetime(2026, 11, 21, 5, 46, tzinfo=UTC),
        "expires_at": None,
        "attempts": 1,
        "age": 0.0,
        "expired": False,
    }
    return Claimed(kind=kind, context=context, **{**given, **fields})


def parsed(raw: bytes) -> tuple[EmailMessage, str, str]:
    """The message, its text and its HTML."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    return message, text.get_content() if text else "", html.get_content() if html else ""


def template(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


# ---- every kind ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_it_has_to_in_both_parts(kind: str) -> None:
    message, text, html = parsed(letters().compose(claimed(kind)))

    assert message["Subject"]
    for part in (text, html):
        assert "Hello ada," in part
        assert "Gatehouse" in part
        for name in KINDS[kind]:
            assert link(Link(name, TOKEN_ID)) in part
    assert "{{" not in text + html


@pytest.mark.parametrize("kind", ["email.verify", "email.change", "password.reset", "invitation", "password.forced"])
def test_a_link_says_until_when_it_works(kind: str) -> None:
    _, text, html = parsed(letters().compose(claimed(kind, expires_at=datetime(2026, 11, 22, 7, 1, tzinfo=UTC))))

    for part in (text, html):
        assert "works once, until 2026-11-22 07:01 UTC" in part


@pytest.mark.parametrize("kind", ["password.changed", "email.changed", "login.new_device", "session.reused"])
def test_what_is_not_known_of_who_did_it_is_not_spoken_of(kind: str) -> None:
    letter = claimed(kind, context={"ip": None})
    del letter.context["device"]

    _, text, html = parsed(letters().compose(letter))

    for part in (text, html):
        assert "2026-11-21 05:46 UTC" in part
        for word in ("None", "Device", "Address"):
            assert word not in part


@pytest.mark.parametrize("address", ["ada.lovelace@example.net", "a***@example.net"])
def test_the_old_address_is_told_of_the_new_one_but_not_which(address: str) -> None:
    _, text, html = parsed(letters().compose(claimed("email.changed", context={"new_email": address})))

    for part in (text, html):
        assert "a***@example.net" in part
        assert "lovelace" not in part


def test_no_name_is_as_good_as_one() -> None:
    message, _, _ = parsed(letters(mail_from="no-reply@example.org").compose(claimed()))

    assert message["From"] == "no-reply@example.org"


# ---- what people have written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_adds_a_header_a_line_or_a_tag(tmp_path: Path, name: str) -> None:
    template(tmp_path / "en", "invitation.txt", "Subject: Welcome {{ username }}\n\n[{{ username }}] {{ reset }}\n")
    context = {"username": name, "device": name, "list": [name], "map": {"name": name}}
    usual, text, html = parsed(letters().compose(claimed(context=context)))
    named, body, _ = parsed(letters(tmp_path).compose(claimed("invitation", context=context)))

    for message in (usual, named):
        assert message.keys() == [
            *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type")
        ]
        assert message["To"] == "ada@example.org"
        assert "\n" not in message["Subject"]
        assert "\r" not in message["Subject"]
    assert named["Subject"].startswith("Welcome ")
    assert named["Subject"].isprintable()
    assert len(named["Subject"]) < 250
    assert len(body.strip().splitlines()) == 1
    assert "\nSubject: Won" not in text.replace("\r", "")
    assert "49" not in body.partition("]")[0]
    assert "<script" not in html
    assert "<img" not in html


def test_an_encoded_word_in_a_name_stays_what_was_written(tmp_path: Path) -> None:
    template(tmp_path / "en", "invitation.txt", "Subject: Hi {{ username }}\n{{ reset }}\n")

    message, _, _ = parsed(
        letters(tmp_path).compose(claimed("invitation", context={"username": "=?utf-8?q?e=76e?= ü"}))
    )

    assert message["Subject"] == "Hi = ?utf-8?q?e=76e?= ü"


# ---- languages and templates --------------------------------------------------------------------------------------


@pytest.fixture
def german(tmp_path: Path) -> Path:
    template(tmp_path / "de", "password.changed.txt", "Subject: Neues Passwort\nHallo {{ username }}\n")
    template(tmp_path / "de", "password.changed.html", '{% extends "layout.html" %}{% block body %}Neu{% endblock %}')
    template(tmp_path / "de-AT", "password.changed.txt", "Subject: Neues Kennwort\nServus {{ username }}\n")
    template(tmp_path / "de", "password.reset.txt", "Subject: Passwort\r\n{{ reset }}\r\n")
    return tmp_path


@pytest.mark.parametrize(
    ("language", "subject", "in_html"),
    [
        ("de", "Neues Passwort", 'lang="de"'),
        ("DE-ch-1996", "Neues Passwort", 'lang="de"'),
        ("de-at", "Neues Kennwort", 'lang="de-at"'),
        ("fr", "Your password was changed", 'lang="en"'),
        ("en-GB", "Your password was changed", 'lang="en"'),
        (None, "Your password was changed", 'lang="en"'),
        ("../../etc", "Your password was changed", 'lang="en"'),
        ("-", "Your password was changed", 'lang="en"'),
    ],
)
def test_a_reader_gets_his_language_or_the_next_wider_one(
    german: Path, language: str | None, subject: str, in_html: str
) -> None:
    message, _, html = parsed(letters(german).compose(claimed(language=language)))

    assert message["Subject"] == subject
    assert in_html in html


def test_a_kind_that_is_not_translated_is_in_english(german: Path) -> None:
    message, _, _ = parsed(letters(german).compose(claimed("email.verify", language="de")))

    assert message["Subject"] == "Confirm your e-mail address"


def test_a_language_that_has_the_text_alone_is_sent_as_text_alone(german: Path) -> None:
    message, text, html = parsed(letters(german).compose(claimed("password.reset", language="de")))

    assert message.get_content_type() == "text/plain"
    assert text.strip() == link(Link("reset", TOKEN_ID))
    assert html == ""


def test_a_template_of_ones_own_replaces_ours_one_by_one(tmp_path: Path) -> None:
    template(tmp_path / "en", "password.changed.txt", "Subject: Ours\nText of {{ product }}\n")
    template(tmp_path / "en", "layout.html", "<b>{{ subject }}</b>{% block body %}{% endblock %}")

    message, text, html = parsed(letters(tmp_path).compose(claimed()))

    assert (message["Subject"], text.strip()) == ("Ours", "Text of Gatehouse")
    assert html.startswith("<b>Ours</b>")
    assert "The password of your account was changed" in html


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("No subject\n", "has to begin with 'Subject: '"),
        ("Subject: {{ usrname }}\n", "'usrname' is undefined"),
        ("Subject: {{ username\n", "unexpected end of template"),
        ('{% extends "nothing.txt" %}', "nothing.txt"),
    ],
)
def test_a_template_that_is_not_right_is_named(tmp_path: Path, text: str, reason: str) -> None:
    template(tmp_path / "fr", "invitation.txt", text)
    broken = letters(tmp_path)

    with pytest.raises(TemplateError):
        broken.compose(claimed("invitation", language="fr"))
    (fault,) = broken.faults()
    assert fault.startswith("fr/")
    assert reason in fault


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    template(tmp_path / "fr", "invitation.txt", "")
    (tmp_path / "fr" / "invitation.txt").write_bytes(b"Subject: \xff\n")
    (tmp_path / "readme").write_text("no language")

    (fault,) = letters(tmp_path).faults()

    assert fault.startswith("fr/invitation")


def test_our_own_templates_are_right() -> None:
    assert list(letters().faults()) == []


def test_a_kind_without_a_template_is_an_error() -> None:
    with pytest.raises(TemplateNotFound):
        letters().compose(claimed("no.such.kind"))


def test_a_package_that_is_installed_has_the_templates(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = {f"app/mail/templates/{path.relative_to(OURS)}" for path in OURS.rglob("*.*")}
    assert len(templates) == 2 * len(KINDS) + 4
    assert templates <= names


@pytest.mark.parametrize(
    "recipient", ["nobody", "ada@example.org\r\nBcc: eve@example.org", "ada@example.org, eve@example.org"]
)
def test_nobody_is_written_to_at_what_is_no_address(recipient: str) -> None:
    with pytest.raises(BadAddress):
        letters().compose(claimed(recipient=recipient))
