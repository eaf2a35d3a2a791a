"""Real requests of CLINC150's three domains, and a brief for each, written from the names of its intents alone."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from actors.verification.models import Brief, Content
from actors.verification.readers.language import identify

PATH = Path(__file__).resolve().parents[3] / "shared" / "data" / "clinc150_three_domains.csv"
MISSING = f"{PATH} is not there: real requests are not part of the repository"


@dataclass(frozen=True, slots=True)
class Request:
    text: str
    domain: str  # "" where out of scope


def requests() -> list[Request]:
    with PATH.open(encoding="utf-8", newline="") as lines:
        return [Request(row["text"], row["domain"]) for row in csv.DictReader(lines)]


def content(text: str) -> Content:
    """The text as the reader gives it: with the language that it detects, rightly or not."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return Content(
        content_hash=digest, kind="text", media_type="text/plain", size=len(text), text=text, language=identify(text)
    )


_CRITERIA = (
    "Natural wording, as people really speak",
    "Clear English without spelling mistakes",
    "One request per contribution",
)

BRIEFS = {
    "kitchen_and_dining": Brief(
        title="Requests to a kitchen and dining assistant",
        description="Short requests and questions that people put to a voice assistant about food. They are about cooking "
        "at home and about eating out.",
        data_requirements=(
            "Ask for a recipe for a dish",
            "Ask which ingredients a dish needs",
            "Ask what to use instead of a missing ingredient",
            "Ask how long to cook something",
            "Ask how many calories are in a food",
            "Ask for nutrition information of a food",
            "Ask how long a food keeps before it goes bad",
            "Ask for a suggestion for a meal",
            "Ask for a suggestion for a restaurant",
            "Ask for reviews of a restaurant",
            "Make a restaurant reservation",
            "Cancel a restaurant reservation",
            "Confirm a restaurant reservation",
            "Ask whether a restaurant accepts reservations",
            "Ask how busy a restaurant is",
        ),
        quality_criteria=_CRITERIA,
    ),
    "travel": Brief(
        title="Requests to a travel assistant",
        description="Short requests and questions that travellers put to a voice assistant. They plan trips, book them and "
        "ask about the place they go to.",
        data_requirements=(
            "Book a flight",
            "Ask for the status of a flight",
            "Book a hotel",
            "Rent a car",
            "Report or find lost luggage",
            "Ask what may go into carry-on luggage",
            "Ask whether a visa is needed for a country",
            "Ask which vaccinations a trip needs",
            "Ask for travel alerts and safety warnings for a country",
            "Tell the bank about travel plans",
            "Suggest what to see or do in a place",
            "Ask for the exchange rate between currencies",
            "Translate a phrase into another language",
            "Ask for the time zone of a place",
            "Ask which plug or socket type a country uses",
        ),
        quality_criteria=_CRITERIA,
    ),
    "auto_and_commute": Brief(
        title="Requests to a car and commuting assistant",
        description="Short requests and questions that drivers and commuters put to a voice assistant. They are about their "
        "car and about getting around.",
        data_requirements=(
            "Ask how much gas or fuel is left in the car",
            "Ask which type of gas a car needs",
            "Ask for the miles per gallon of a car",
            "Ask about tire pressure",
            "Ask how to change a tire",
            "Ask how to jump start a car battery",
            "Ask how to change the oil",
            "Ask when the next oil change is due",
            "Ask when the car had its last maintenance",
            "Schedule car maintenance",
            "Order an Uber ride",
            "Ask for directions to a place",
            "Ask for the distance or travel time to a place",
            "Ask about traffic on the way",
            "Ask for the current location",
        ),
        quality_criteria=_CRITERIA,
    ),
}
