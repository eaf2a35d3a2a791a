"""The three checkpoints of every team run."""

from __future__ import annotations

from actors.reviews.changes import changes
from actors.reviews.checkpoints.base import Checkpoint, Measured, Moment
from actors.reviews.safety import MAX_FLAGS, Scan, from_provider
from actors.reviews.thresholds import Measures, confidence


class InformationReview(Checkpoint):
    """What was understood of the request: the form with its values, before a payload is made of it."""

    name = "information_review"
    title = "Is this what the request means?"
    stands = "information"

    async def measure(self, moment: Moment) -> Measured:
        request = moment.request
        said = {
            "prompt": request.prompt,
            "conversation": [turn.text for turn in request.conversation],
            "values": moment.form.payload,
        }
        return Measured(measures=Measures(confidence=confidence(moment.form), safety=await moment.scan(said)))


class PayloadReview(Checkpoint):
    """What will be sent and paid for. A provider's refusal brings the payload back here."""

    name = "payload_review"
    title = "May this be sent?"
    stands = "before_call"

    async def measure(self, moment: Moment) -> Measured:
        assert moment.payload is not None
        sent = moment.payload.input
        return Measured(
            measures=Measures(
                confidence=confidence(moment.form, moment.issues),
                safety=await moment.scan(sent),
                changes=changes(moment.suggested or {}, sent),
            ),
            stops=None if moment.refusal is None else f"the provider refused it: {moment.refusal['message']}",
        )


class ResponseReview(Checkpoint):
    """What the model answered, before it counts as the run's result."""

    name = "response_review"
    title = "Is this answer good?"
    stands = "after_call"

    async def measure(self, moment: Moment) -> Measured:
        assert moment.response is not None
        response = moment.response
        found = await moment.scan(response.text or response.output)
        if response.flags:
            found = joined(found, from_provider(f"{response.provider}'s own marks", response.flags))
        measured = moment.thresholds.response_quality_min is not None
        quality = await moment.judge(response) if measured else None
        unusable = [
            each.message for each in (moment.audit.findings if moment.audit else ()) if each.severity == "error"
        ]
        return Measured(measures=Measures(safety=found, quality=quality), stops="; ".join(unusable) or None)


def joined(one: Scan, other: Scan) -> Scan:
    """Both scans as one."""
    flags = (*one.flags, *other.flags)
    return Scan(
        detector=f"{one.detector}, {other.detector}",
        flags=flags[:MAX_FLAGS],
        complete=one.complete and other.complete and len(flags) <= MAX_FLAGS,
    )


BUILT_IN: tuple[type[Checkpoint], ...] = (InformationReview, PayloadReview, ResponseReview)
