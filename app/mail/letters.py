"""From a row of the outbox to a mail: templates in the reader's language, and headers that nobody can forge."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound, select_autoescape

from app.mail.outbox import Link
from app.mail.queries import Claimed
from app.setting_values import ADDRESS
from app.settings import Settings

PRODUCT = "Gatehouse"
OURS = Path(__file__).parent / "templates"
FALLBACK = "en"  # the language that every kind has a template in
LONGEST = 200  # characters of a value: nobody fills a mail with the name of a device
SUBJECT = "Subject: "  # what the first line of a .txt begins with

KINDS: Mapping[str, tuple[str, ...]] = {  # of letters, with the links that each takes
    "account.deactivated": (),
    "account.deleted": (),
    "email.change": ("verify",),
    "email.changed": ("not_me",),
    "email.moved": (),
    "email.verify": ("verify",),
    "identity.linked": ("not_me",),
    "identity.unlinked": ("not_me",),
    "invitation": ("reset",),
    "login.new_device": ("not_me",),
    "mfa.disabled": ("not_me",),
    "mfa.enabled": ("not_me",),
    "passkey.added": ("not_me",),
    "passkey.removed": ("not_me",),
    "password.changed": ("not_me",),
    "password.forced": ("reset",),
    "password.reset": ("reset",),
    "recovery_code.used": ("not_me",),
    "recovery_codes.replaced": ("not_me",),
    "roles.changed": ("not_me",),
    "session.reused": ("not_me",),
}
ABSENT: Mapping[str, object] = {  # what a letter need not say
    "ip": None,
    "device": None,
    "new_email": None,
    "by_administrator": False,
    "provider": None,
    "new_password": True,
    "added": [],
    "removed": [],
    "also": [],
}
SAMPLE: Mapping[str, object] = {  # every value that a template may ask for
    "username": "ada",
    "at": "2026-11-21T05:46:19Z",
    "expires_at": "2026-11-22T05:46:19Z",
    "ip": "203.0.113.7",
    "device": "Firefox on Linux",
    "new_email": "a***@example.org",
    "by_administrator": False,
    "provider": "Google",
    "new_password": True,
    "added": ["editor"],
    "removed": [],
    "also": ["password"],
    "left": 9,
    "name": "Ada's telephone",
}


class BadAddress(Exception):
    """Nobody can be written to at this address."""


class NoSubject(TemplateError):
    """The first line of a text is not its subject."""


class Letters:
    """The templates: our own, and those of MAIL_TEMPLATES_DIR, each of which replaces ours of the same name."""

    def __init__(self, settings: Settings, link: Callable[[Link], str]) -> None:
        self._name, self.sender = settings.mail_sender
        self._public_url = settings.public_url
        self._link = link
        self._directories = _directories(settings.mail_templates_dir)
        self._environments: dict[str, Environment] = {}

    def compose(self, claimed: Claimed) -> bytes:
        """The mail, the same every time but for its links: the id is the outbox's, so that a duplicate is known as one.

        Raises:
            BadAddress: there is no way to write to the recipient.
            TemplateError: the template is missing, or is not right.
            Exception: whatever `link` raises.
        """
        if not ADDRESS.fullmatch(claimed.recipient):
            raise BadAddress
        links = {name: self._link(link) for name, link in claimed.links.items()}
        expires_at = claimed.expires_at and claimed.expires_at.isoformat()
        context = {name: clean(value) for name, value in claimed.context.items()}
        values = {**context, "expires_at": expires_at, **links}
        subject, text, html = self.render(claimed.kind, claimed.language, values)
        message = EmailMessage(SMTP if claimed.recipient.isascii() else SMTPUTF8)
        message["From"] = Address(self._name, addr_spec=self.sender)
        local, _, domain = claimed.recipient.rpartition("@")
        message["To"] = Address(username=local, domain=domain)
        message["Subject"] = subject
        message["Date"] = claimed.created_at
        message["Message-ID"] = f"<{claimed.id}@{self.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(text, cte="quoted-printable")
        if html is not None:
            message.add_alternative(html, subtype="html", cte="quoted-printable")
        return message.as_bytes()

    def render(self, kind: str, language: str | None, values: Mapping[str, object]) -> tuple[str, str, str | None]:
        """Subject, text and HTML; no HTML where the language has the text alone: no mail speaks two languages."""
        spoken = next((each for each in _wider(language) if self._has(each, f"{kind}.txt")), None)
        if spoken is None:
            raise TemplateNotFound(f"{kind}.txt")
        environment = self._environment(spoken)
        ours = {**ABSENT, "product": PRODUCT, "public_url": self._public_url, "language": spoken}
        known = {**ours, **values}
        first, _, text = environment.get_template(f"{kind}.txt").render(known).partition("\n")
        if not first.startswith(SUBJECT):
            raise NoSubject(f"{kind}.txt: the first line has to begin with {SUBJECT!r}")
        known["subject"] = subject = _harmless(first.removeprefix(SUBJECT))
        html = None
        if any(self._has(each, f"{kind}.html") for each in _wider(spoken, fallback=None)):
            html = environment.get_template(f"{kind}.html").render(known)
        return subject, f"{text.strip()}\n", html

    def faults(self) -> Iterator[str]:
        """What is wrong with the templates, by trying each of them."""
        for language in self._directories:
            for kind, links in KINDS.items():
                values = {**SAMPLE, **dict.fromkeys(links, f"{self._public_url}/?token=sample")}
                try:
                    self.render(kind, language, values)
                except (TemplateError, UnicodeDecodeError) as error:
                    reason = (str(error) or type(error).__name__).partition("\n")[0]
                    yield f"{language}/{getattr(error, 'name', None) or kind}: {reason}"

    def _has(self, language: str, name: str) -> bool:
        return any((directory / name).is_file() for directory in self._directories.get(language, ()))

    def _environment(self, language: str) -> Environment:
        """The templates of a language, and where it has none those of the wider ones."""
        if language not in self._environments:
            places = [place for each in _wider(language) for place in self._directories.get(each, ())]
            environment = Environment(
                loader=FileSystemLoader(places),
                autoescape=select_autoescape(("html",), default=False),
                undefined=StrictUndefined,
                trim_blocks=True,
                lstrip_blocks=True,
            )
            environment.filters |= {"time": shown_time, "masked": masked}
            self._environments[language] = environment
        return self._environments[language]


def _directories(theirs: Path | None) -> dict[str, list[Path]]:
    """Where the templates of each language are, in lower case; the operator's before ours."""
    found: dict[str, list[Path]] = {}
    for root in (theirs, OURS):
        for directory in sorted(root.iterdir()) if root else ():
            if directory.is_dir():
                found.setdefault(directory.name.lower(), []).append(directory)
    return found


def _wider(language: str | None, fallback: str | None = FALLBACK) -> Iterator[str]:
    """The tag, and what is left without its last parts: de-at, de; and in the end the fallback (RFC 4647 §3.4)."""
    tag = (language or "").lower()
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]
    if fallback:
        yield fallback


# ---- what people have written, before it stands in a mail ---------------------------------------------------------


def clean(value: object) -> object:
    """Every text on one line, without what does not print and not longer than LONGEST."""
    if isinstance(value, dict):
        return {name: clean(each) for name, each in value.items()}
    if isinstance(value, list):
        return [clean(each) for each in value]
    if not isinstance(value, str):
        return value
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _harmless(subject: str) -> str:
    """On one line, and without what would be read as an encoded word (RFC 2047 §2), which may hold a line break."""
    return " ".join(subject.replace("=?", "= ?").split())


def shown_time(value: str) -> str:
    """An RFC 3339 time for people of any language, to the minute."""
    return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M} UTC"


def masked(address: str) -> str:
    """Enough of an address for its owner to know it: a***@example.org."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"
