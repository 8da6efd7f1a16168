"""US Privacy strings: four characters, and nothing guessed from fewer."""

from itertools import product

import pytest

from candor.signals import (
    InvalidSignal,
    OptOuts,
    UsPrivacy,
    decode_us_privacy,
    us_privacy_opt_outs,
)

SAID = {"Y": True, "N": False, "-": None}


@pytest.mark.parametrize("answers", [*product("YN-", "YN", "YN-")])
def test_every_answer_is_told(answers: tuple[str, str, str]) -> None:
    notice, opt_out, covered = (SAID[one] for one in answers)
    expected = UsPrivacy(
        version=1, notice=notice, opt_out_sale=opt_out, limited_service_provider=covered
    )
    assert decode_us_privacy("1" + "".join(answers)) == expected
    assert decode_us_privacy("1" + "".join(answers).lower()) == expected


@pytest.mark.parametrize(
    ("text", "sale", "sharing"),
    [
        ("1YNN", False, None),
        ("1NYY", True, True),
        ("1-Y-", True, True),
        ("1YYN", True, True),
        ("1NNN", None, None),
        ("1-N-", None, None),
        ("1---", None, None),
    ],
)
def test_an_opt_out_holds_and_its_absence_counts_with_notice(
    text: str, sale: bool | None, sharing: bool | None
) -> None:
    assert us_privacy_opt_outs(text) == OptOuts(
        sale=sale, sharing=sharing, targeted_advertising=None, sensitive_refused=frozenset()
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1Y", "1YN", "1YNNN", " 1YN", "1YN ", "1YN\n"),
        *("2YNN", "0YNN", "YYNN", "-YNN", "１YNN"),  # full width
        *("1XNN", "1YXN", "1YNX", "1Y-N", "1Y--", "1--N", "1YÑN", "1YN1", "1ＹNN"),
    ],
)
def test_anything_else_is_out_of_everything(text: str) -> None:
    with pytest.raises(InvalidSignal) as raised:
        decode_us_privacy(text)
    assert us_privacy_opt_outs(text) == OptOuts(denied=str(raised.value))
    assert len(text) < 4 or text not in str(raised.value)
