"""What these tests share: what a command left, and plugin bodies whose model is not finite."""

from dataclasses import dataclass

NAN = "next(model.parameters()).data.fill_(float('nan')); return model"
NAN_IN_THE_SECOND_CALL = f"""calls.append(1)
        if len(calls) == 2:
            {NAN}
        return model"""


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str
