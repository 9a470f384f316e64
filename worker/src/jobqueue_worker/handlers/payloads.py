"""Reads a payload into the model of its kind."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from jobqueue import Discard

from .context import Job


class Payload(BaseModel):
    """Base of the payload models: as strict as the kind's JSON Schema, which the server checks first.

    The handlers check again because an operator may replace a kind's schema. Unknown fields pass.
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# In JSON Schema 100.0 is an integer too, and some producers know no other numbers.
Whole = Annotated[int, BeforeValidator(_whole)]

PayloadT = TypeVar("PayloadT", bound=Payload)


def read(model: type[PayloadT], job: Job) -> PayloadT:
    """The job's payload as a `model`.

    Raises:
        Discard: A field is missing or wrong; the message names each by its path. No later attempt can
            read the same payload, so the job ends here.
    """
    try:
        return model.model_validate(job.payload)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(['payload', *(str(part) for part in problem['loc'])])}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise Discard(f"the payload does not fit {job.kind}: {problems}") from None
