"""AuroraSendCloud's return codes: the whole table, class by class, written down a second time."""

import re

from providers.aurorasendcloud.codes import COMMON, SMS, Class

BY_CLASS = {
    Class.OK: {200, 40100, 40107, 40109, 40401, 40403, 40601, 40821, 40903},
    Class.INFO: {40905, 40906, 40907, 40909, 40910, 49904},
    Class.CONFIG: {
        *(40216, 40223, 40226, 40227, 40228, 40229, 40707, 40823, 40824, 40825, 40908),
        *(41014, 41108, 41109),
    },
    Class.AUTH: {6001, 40005, 40301, 40820},
    Class.QUOTA: {40904, 40912, 40913},
    Class.RATE: {50000, 50001},
    Class.TRANS: {
        *(501, 40101, 40108, 40110, 40215, 40217, 40218, 40402, 40404, 40508, 40516, 40519, 40602),
        *(40710, 40711, 40712, 40822, 40851, 40867, 40901, 40902, 40911, 41015, 41016, 41119),
        *(49902, 49903, 49905, 49906),
    },
}
# All codes there are, in runs: every one that no class above names is the request's own fault.
RUNS = (
    *((200, 200), (501, 501), (6001, 6001), (40001, 40017), (40100, 40113), (40201, 40229), (40301, 40301)),
    *((40401, 40404), (40501, 40522), (40601, 40604), (40701, 40712), (40801, 40880), (40901, 40913)),
    *((41001, 41016), (41101, 41119), (49901, 49906), (50000, 50001)),
)
SMS_BY_CLASS = {
    Class.OK: {200, 311},
    Class.PERM: {312, 411, 412, 413, 433, 441, 451, 452, 461, 481, 482, 483, 498},
    Class.CONFIG: {431, 432},
    Class.AUTH: {421, 422, 471, 472, 473, 474, 601},
    Class.QUOTA: {499},
    Class.RATE: {496},
    Class.TRANS: {501},
}


def test_every_documented_code_is_in_the_table_and_no_other() -> None:
    documented = {code for first, last in RUNS for code in range(first, last + 1)}

    assert set(COMMON) == documented
    assert set(SMS) == set().union(*SMS_BY_CLASS.values())


def test_every_code_has_its_class() -> None:
    special = {code: kind for kind, codes in BY_CLASS.items() for code in codes}

    assert {code: it.kind for code, it in COMMON.items()} == {code: special.get(code, Class.PERM) for code in COMMON}
    assert {code: it.kind for code, it in SMS.items()} == {
        code: kind for kind, codes in SMS_BY_CLASS.items() for code in codes
    }


def test_words_are_short_and_of_our_own() -> None:
    for code in (*COMMON.values(), *SMS.values()):
        assert re.fullmatch(r"[A-Za-z0-9 _,./'-]{2,60}", code.words), code
