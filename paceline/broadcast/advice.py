"""What somebody should know before a broadcast starts."""

from paceline.broadcast.definition import Definition
from paceline.directory import Via

# Our choice, a careful beginning: about what a person writes in a day, and twice as much each day after.
BANNED = (
    "WhatsApp may ban a number that writes to many who do not know it: consider warming it up with "
    "ramp_up = { first = 50, growth = 2 }."
)


def warnings_for(definition: Definition, via: Via) -> tuple[str, ...]:
    """Sentences, none if there is nothing to say."""
    if definition.ramp_up is None and any(carrier.capabilities.channel == "whatsapp" for carrier in via.carriers):
        return (BANNED,)
    return ()
