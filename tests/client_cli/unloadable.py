"""A module whose key is too short: what `--encodings` names can't be imported."""

from jobqueue import AesGcm, Encodings

ENCODINGS = Encodings([AesGcm({"a": bytes(16)}, primary="a")])
