"""Reads SDP answers with aiortc's parser and compares each with its offer. Input: a JSON list of {row, offer, answer}.

Prints how many it read; what is wrong, with an exit status of 1.
"""

import json
import sys

from aiortc import sdp


def sections(text):
    """Of the offer, which aiortc need not understand: the words of each m= line and the mid."""
    found = []
    for line in text.splitlines():
        if line.startswith("m="):
            found.append({"words": line[2:].split(), "mid": "", "formats": []})
        elif line.startswith("a=mid:") and found and not found[-1]["mid"]:
            found[-1]["mid"] = line[6:].strip()
    return found


def known(text):
    """Without the sections of kinds that aiortc does not read; those must be refused in their place."""
    head, *rest = text.replace("\r\n", "\n").split("\nm=")
    return "\r\n".join("\nm=".join([head] + [part for part in rest if is_known(part)]).split("\n"))


def is_known(section):
    return section.split(" ")[0] in ("audio", "video", "application")


def judge(offer, answer):
    heads = [" ".join(part["words"]) for part in sections(answer)]
    for head, part in zip(heads, sections(offer)):
        kind, _, *rest = part["words"]
        if not is_known(head) and head != " ".join([kind, "0", *rest]):
            yield f"{head!r} for {part['words']}"
    if len(heads) != len(sections(offer)):
        yield f"{len(heads)} sections for {len(sections(offer))}"
    parsed, offered = sdp.SessionDescription.parse(known(answer)), sections(known(offer))
    if len(parsed.media) != len(offered):
        yield f"{len(parsed.media)} sections for {len(offered)}"
        return
    live, candidates = [], None
    for index, (media, asked) in enumerate(zip(parsed.media, offered)):
        where = f"section {index}"
        kind, _, protocol = asked["words"][:3]
        if media.kind != kind or media.profile != protocol:
            yield f"{where}: {media.kind} {media.profile} for {kind} {protocol}"
        if (media.rtp.muxId or "") != asked["mid"]:
            yield f"{where}: mid {media.rtp.muxId!r} for {asked['mid']!r}"
        if media.port == 0:
            continue
        live.append(media.rtp.muxId)
        foreign = {str(number) for number in media.fmt} - set(asked["words"][3:])
        if foreign:
            yield f"{where}: formats {foreign} were not offered"
        if not media.rtcp_mux:
            yield f"{where}: no rtcp-mux"
        if not media.ice.usernameFragment or not media.ice.password:
            yield f"{where}: no ICE parameters"
        if media.dtls is None or not media.dtls.fingerprints or media.dtls.role not in ("server", "client"):
            yield f"{where}: no certificate or side of DTLS"
        if media.direction not in ("sendonly", "recvonly"):
            yield f"{where}: direction {media.direction}"
        here = [sdp.candidate_to_sdp(candidate) for candidate in media.ice_candidates]
        if not here or here != (candidates or here):
            yield f"{where}: candidates {here}, elsewhere {candidates}"
        candidates = here
    groups = [group.items for group in parsed.group if group.semantic == "BUNDLE"]
    if not live or groups != [live]:
        yield f"group {groups}, live {live}"


def main():
    cases, wrong = json.load(sys.stdin), []
    for case in cases:
        try:
            wrong += [f"{case['row']}: {what}\n{case['answer']}" for what in judge(case["offer"], case["answer"])]
        except Exception as error:  # whatever the parser trips over is a finding
            wrong.append(f"{case['row']}: {error!r}\n{case['answer']}")
    print("\n".join(wrong) if wrong else f"{len(cases)} answers")
    sys.exit(1 if wrong else 0)


main()
