"""What schemathesis does not know of our media types: session descriptions are texts."""

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def description(ctx, value):
    text = value if isinstance(value, str) else str(value)
    return text.encode("utf-8", "surrogatepass")
