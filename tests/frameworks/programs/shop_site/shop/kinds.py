"""As the README shows it."""

from dataclasses import dataclass

from jobqueue import define_kind


@dataclass
class Receipt:
    order: int


send_receipt = define_kind("send-receipt", Receipt, output=str)
