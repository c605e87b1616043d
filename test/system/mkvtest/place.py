"""Where the rule of docs/format.md puts a key: written again here, from the rule and not from the C code, so that the
two check each other."""
import base64
import hashlib

WHOLE, CUT = 255, 240


def path_of(key: bytes, generation: int = 0) -> str:
    """The path under a subvolume, with the leading slash."""
    digest = hashlib.md5(key).digest()
    parts = base64.b64encode(key).decode().split("/")
    pieces = []
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        longest = CUT if last and generation else WHOLE
        if len(part) > longest:
            cuts = [part[at:at + CUT] for at in range(0, len(part), CUT)]
            part = "-/".join(cuts)
        if last and part == "":
            part = "-"
        pieces.append(part)
    suffix = f"~{generation:x}" if generation else ""
    return f"/{digest[0]:02x}/{digest[1]:02x}/" + "/".join(pieces) + suffix


def replicas_of(key: bytes, volumes, subvolumes: int = 10):
    """Every volume in placement order, as the index writes it: "host:port/svXX"."""
    scored = []
    for name in volumes:
        score = hashlib.md5(key + name.encode()).digest()
        text = name
        if subvolumes > 1:
            text += "/sv%02X" % (int.from_bytes(score[12:16], "big") % subvolumes)
        scored.append((score, text))
    scored.sort(key=lambda pair: pair[0], reverse=True)
    return [text for _, text in scored]
