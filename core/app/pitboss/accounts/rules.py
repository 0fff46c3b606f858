"""Decisions about player accounts: what a registration may say, which status follows which, what a mail says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final
from unicodedata import category, normalize

from msgspec import convert, structs

from pitboss.accounts.contracts import (
    COUNTRIES,
    IDENTITY_COLUMNS,
    MAX_EMAIL_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_PASSWORD_CHARACTERS,
    MIN_PASSWORD_CHARACTERS,
    BrandTerms,
    Identity,
    PlayerStatus,
    PreparedRegistration,
    Registration,
)
from pitboss.accounts.errors import PasswordInvalid, PlayerClosed, RegistrationInvalid, StatusRefused
from pitboss.keys.contracts import ErasureOutcome

_MAX_LOCAL_PART = 64
_MAX_AGE_YEARS = 130
_CORRECTABLE: Final = frozenset(IDENTITY_COLUMNS) - {"email"}
_NOT_IN_LOCAL_PART: Final = frozenset(' "(),:;<>@[\\]')
"""What a local part may hold only in quotes, which nobody's address needs."""
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.ASCII
)
_GUESSED_FIRST: Final = frozenset(
    (
        "password password1 password123 passw0rd 12345678 123456789 1234567890 87654321 11111111 00000000 88888888 "
        "qwertyui qwerty123 qwertyuiop 1q2w3e4r 1q2w3e4r5t asdfghjk abcd1234 abc12345 iloveyou sunshine princess "
        "football baseball superman letmein1 welcome1 trustno1 changeme 123123123 senha123 contraseña"
    ).split()
)


def normalise_email(email: str) -> str | None:
    """Return the form in which two spellings of one address are equal, or None for what is no address.

    Letter case and compatible characters are folded and the domain is written in ASCII (IDNA). Dots and tags
    of the local part stay: whether they matter is the mail provider's decision.
    """
    text = normalize("NFKC", email.strip())
    local, separator, domain = text.rpartition("@")
    if not separator or not local or len(text) > MAX_EMAIL_CHARACTERS or any(map(_is_unprintable, text)):
        return None
    local = normalize("NFKC", local.casefold())
    if len(local.encode()) > _MAX_LOCAL_PART or not _NOT_IN_LOCAL_PART.isdisjoint(local):
        return None
    try:
        ascii_domain = domain.casefold().encode("idna").decode()
    except UnicodeError:
        return None
    return f"{local}@{ascii_domain}" if _DOMAIN.fullmatch(ascii_domain) else None


def _is_unprintable(letter: str) -> bool:
    return category(letter)[0] in "CZ" and letter != " "


def compute_age_years(birth_date: date, today: date) -> int:
    """Return full years of age; who was born on 29 February grows older on 1 March of common years."""
    return today.year - birth_date.year - ((today.month, today.day) < (birth_date.month, birth_date.day))


def normalise_password(password: str) -> str:
    """Return the form that is hashed, the same on every keyboard (NIST SP 800-63B, section 3.1.1.2)."""
    return normalize("NFKC", password)


def check_password(password: str, email: str = "") -> None:
    """Raise `PasswordInvalid` for a password that is too short, too long, or guessed first."""
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise PasswordInvalid(
            f"password: between {MIN_PASSWORD_CHARACTERS} and {MAX_PASSWORD_CHARACTERS} characters are needed"
        )
    folded = password.casefold()
    if folded in _GUESSED_FIRST or len(set(folded)) == 1 or folded == email.strip().casefold():
        raise PasswordInvalid("password: too easy to guess")


def prepare_registration(
    registration: Registration, terms: BrandTerms, today: date, minimum_age_years: int
) -> PreparedRegistration:
    """Return the registration normalised; raise `RegistrationInvalid` with every field that is wrong."""
    email_normalised = normalise_email(registration.email)
    age_years = compute_age_years(registration.birth_date, today)
    first_name, last_name = (
        normalize("NFC", name.strip()) for name in (registration.first_name, registration.last_name)
    )
    language = registration.language or terms.default_language
    currency = registration.currency or terms.currencies[0]
    problems = [] if email_normalised is not None else ["email: not an e-mail address"]
    problems += _find_problems(registration, terms, (first_name, last_name), (language, currency))
    if age_years < minimum_age_years:
        problems.append(f"birth_date: {minimum_age_years} years of age are needed")
    elif age_years > _MAX_AGE_YEARS:
        problems.append("birth_date: too long ago")
    try:
        check_password(registration.password, registration.email)
    except PasswordInvalid as error:
        problems.append(error.detail)
    if problems or email_normalised is None:
        raise RegistrationInvalid("; ".join(problems))
    identity = Identity(
        email=normalize("NFC", registration.email.strip()),
        first_name=first_name,
        last_name=last_name,
        birth_date=registration.birth_date,
        country=registration.country,
        phone=registration.phone,
    )
    return PreparedRegistration(terms.brand, language, currency, identity, email_normalised, terms.licence)


def _find_problems(
    registration: Registration, terms: BrandTerms, names: tuple[str, str], choice: tuple[str, str]
) -> Iterator[str]:
    yield from _find_person_problems(registration.country, registration.phone, names)
    if choice[0] not in terms.languages:
        yield f"language: one of {', '.join(terms.languages)}"
    if choice[1] not in terms.currencies:
        yield f"currency: one of {', '.join(terms.currencies)}"


def _find_person_problems(country: str, phone: str, names: tuple[str, str]) -> Iterator[str]:
    for field, name in zip(("first_name", "last_name"), names, strict=True):
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS or any(map(_is_unprintable, name)):
            yield f"{field}: between 1 and {MAX_NAME_CHARACTERS} printable characters are needed"
    if country not in COUNTRIES:
        yield "country: not a code of ISO 3166-1 alpha-2"
    if phone and not _PHONE.fullmatch(phone):
        yield "phone: not in the form +<country><number>"


def correct(identity: Identity, corrected: Mapping[str, str | date]) -> Identity:
    """Return a player's personal data with some put right; raise `RegistrationInvalid` with every field that is wrong."""
    unknown = corrected.keys() - _CORRECTABLE
    if unknown:
        raise RegistrationInvalid("; ".join(f"{name}: is not put right in this way" for name in sorted(unknown)))
    texts = {name: normalize("NFC", value.strip()) for name, value in corrected.items() if isinstance(value, str)}
    after = structs.replace(identity, **{**corrected, **texts})
    problems = list(_find_person_problems(after.country, after.phone, (after.first_name, after.last_name)))
    if problems:
        raise RegistrationInvalid("; ".join(problems))
    return after


def tell_erasure(outcome: ErasureOutcome) -> Iterator[tuple[str, str | int | list[str]]]:
    """Yield what an audit event says of an erasure: what went, or what stood against it, and nothing of the person."""
    certificate = outcome.certificate
    if certificate is None:
        yield "obstacles", sorted({obstacle.code for obstacle in outcome.obstacles})
        return
    yield "certificate", str(certificate.certificate_id)
    yield "policy_version", certificate.policy_version
    yield "keys_destroyed", certificate.keys_destroyed
    for table, rows in sorted(certificate.removed.items()):
        yield f"removed.{table}", rows


def list_plain(identity: Identity) -> list[tuple[str, bytes]]:
    """Return what is sealed of a player, by column."""
    values = (getattr(identity, column) for column in IDENTITY_COLUMNS)
    return [(column, str(value).encode()) for column, value in zip(IDENTITY_COLUMNS, values, strict=True)]


def read_plain(values: Sequence[bytes]) -> Identity:
    """Return a player's personal data from what `list_plain` gave, in its order."""
    texts = dict(zip(IDENTITY_COLUMNS, (value.decode() for value in values), strict=True))
    return convert(texts, Identity)


def check_status_change(current: PlayerStatus, wanted: PlayerStatus) -> None:
    """Raise `PlayerClosed` when the account is closed, `StatusRefused` when `wanted` is closing."""
    if current is PlayerStatus.CLOSED:
        raise PlayerClosed("the account is closed for good")
    if wanted is PlayerStatus.CLOSED:
        raise StatusRefused("status: an account is closed by its own call, which looks at its money")


_RESET_MAIL: Final = {
    "en": (
        "Choose a new password",
        "Hello {first_name},\n\n"
        "somebody asked for a new password for your account at {domain}. If it was you, open this link within "
        "{minutes} minutes:\n\n{link}\n\n"
        "The link works once. If it was not you, there is nothing to do: your password stays as it is.\n",
    ),
    "es": (
        "Elige una contraseña nueva",
        "Hola, {first_name}:\n\n"
        "Se ha pedido una contraseña nueva para tu cuenta en {domain}. Si has sido tú, abre este enlace en los "
        "próximos {minutes} minutos:\n\n{link}\n\n"
        "El enlace funciona una sola vez. Si no has sido tú, no hagas nada: tu contraseña no cambia.\n",
    ),
    "pt-BR": (
        "Escolha uma nova senha",
        "Olá, {first_name}!\n\n"
        "Recebemos um pedido de nova senha para a sua conta em {domain}. Se foi você, abra este link nos próximos "
        "{minutes} minutos:\n\n{link}\n\n"
        "O link funciona uma única vez. Se não foi você, não é preciso fazer nada: sua senha continua a mesma.\n",
    ),
}


def compose_reset_mail(language: str, *, first_name: str, domain: str, link: str, minutes: int) -> tuple[str, str]:
    """Return subject and plain-text body in `language`; in English where the platform does not speak it."""
    subject, body = _RESET_MAIL.get(language, _RESET_MAIL["en"])
    return subject, body.format(first_name=first_name, domain=domain, link=link, minutes=minutes)
