"""Values of player accounts that cross the room's border."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from typing import Final
from uuid import UUID

import msgspec

from pitboss.keys.contracts import IndexedField

MIN_PASSWORD_CHARACTERS: Final = 8
MAX_PASSWORD_CHARACTERS: Final = 256
MAX_EMAIL_CHARACTERS: Final = 254
"""RFC 5321, section 4.5.3.1.3, less the angle brackets."""
MAX_NAME_CHARACTERS: Final = 100

SESSION_IDLE: Final = timedelta(minutes=30)
"""A session that nobody used for so long is over."""
SESSION_LIFETIME: Final = timedelta(hours=12)
"""A session is over after so long, used or not."""
RESET_LIFETIME: Final = timedelta(hours=1)
"""How long a reset token may be used."""

IDENTITY_COLUMNS: Final[tuple[str, ...]] = ("email", "first_name", "last_name", "birth_date", "country", "phone")
"""What is sealed of a player, in the order of `Identity`."""
EMAIL_INDEX: Final = IndexedField("player_identity", "email", "exact.1")
"""How an account is found by its address. What is indexed is normalised by this room, so the form is the value itself."""


THROTTLE_INDEX: Final = IndexedField("attempt_throttle", "key", "exact.1", 128)
"""How attempts are counted: whoever has the table alone cannot try out whose they were."""


class PlayerStatus(IntEnum):
    """Stored as a number, so numbers are never reused. Closed is final."""

    ACTIVE = 1
    SUSPENDED = 2
    CLOSED = 3


class StatusReason(StrEnum):
    """Why a status changed; a code, so that the audit log holds no free text about a person."""

    PLAYER_REQUEST = "player_request"
    OPERATOR_REVIEW = "operator_review"
    REVIEW_PASSED = "review_passed"
    FRAUD_SUSPECTED = "fraud_suspected"
    DUPLICATE_ACCOUNT = "duplicate_account"
    UNDERAGE = "underage"


class BrandTerms(msgspec.Struct, frozen=True):
    """What a brand lets its players choose, the defaults first, and the licence under which it takes them."""

    brand: str
    languages: tuple[str, ...]
    default_language: str
    currencies: tuple[str, ...]
    licence: str = ""


class Registration(msgspec.Struct, frozen=True):
    """What somebody typed to open an account; empty language and currency mean the brand's default."""

    email: str
    password: str
    first_name: str
    last_name: str
    birth_date: date
    country: str
    phone: str = ""
    language: str = ""
    currency: str = ""

    def __repr__(self) -> str:
        return "Registration(…)"


class PreparedRegistration(msgspec.Struct, frozen=True):
    """A registration that passed the rules, normalised; the password is no part of it any more."""

    brand: str
    language: str
    currency: str
    identity: Identity
    email_normalised: str
    licence: str = ""

    def __repr__(self) -> str:
        return f"PreparedRegistration({self.brand!r}, …)"


class Identity(msgspec.Struct, frozen=True):
    """A player's personal data. Country is ISO 3166-1 alpha-2, phone is E.164 or empty."""

    email: str
    first_name: str
    last_name: str
    birth_date: date
    country: str
    phone: str

    def __repr__(self) -> str:
        return "Identity(…)"


class Player(msgspec.Struct, frozen=True):
    """A player account without personal data; `player_id` stays inside the cell, `public_id` leaves it.

    `licence` is the pack that the brand was under when the account was opened, empty for a tenant without packs: the
    law that holds for the player wherever the account is used, whatever becomes of the brand.
    """

    player_id: int
    public_id: UUID
    brand: str
    status: PlayerStatus
    status_reason: str
    language: str
    currency: str
    registered_at: datetime
    closed_at: datetime | None
    licence: str = ""


class SignInAttempt(msgspec.Struct, frozen=True):
    """A sign-in that was counted and not yet judged; without a hash the account does not exist."""

    player_id: int
    password_hash: str
    throttle_keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        return "SignInAttempt(…)"


class SignIn(msgspec.Struct, frozen=True):
    """A fresh session. The token is told once; only its hash is kept."""

    player: Player
    token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return "SignIn(…)"


class SignInFailure(Enum):
    """Why there is no session. The second is told only to who knows the password."""

    WRONG = "wrong"
    NOT_ACTIVE = "not_active"


class PlayerSession(msgspec.Struct, frozen=True):
    """A session that is in force, and whose it is."""

    player: Player
    token_hash: bytes
    expires_at: datetime

    def __repr__(self) -> str:
        return f"PlayerSession({self.player.public_id})"


class Letter(msgspec.Struct, frozen=True):
    """A mail to a player, ready to be sent."""

    sender: str
    recipient: str
    subject: str
    body: str
    language: str

    def __repr__(self) -> str:
        return "Letter(…)"


COUNTRIES: Final = frozenset(
    (
        "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY "
        "BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK "
        "FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR "
        "IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK "
        "ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM "
        "PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF "
        "TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
    ).split()
)
"""ISO 3166-1 alpha-2 codes."""
