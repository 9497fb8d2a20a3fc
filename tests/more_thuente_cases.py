"""The published test cases of line searches: six functions, four first steps each."""

import math


def rational(t):
    return -t / (t * t + 2.0), (t * t - 2.0) / (t * t + 2.0) ** 2


def quintic(t):
    u = t + 0.004
    return u**5 - 2.0 * u**4, 5.0 * u**4 - 8.0 * u**3


def rippled(t):
    if t <= 0.99:
        p, d = 1.0 - t, -1.0
    elif t >= 1.01:
        p, d = t - 1.0, 1.0
    else:
        p, d = (t - 1.0) ** 2 / 0.02 + 0.005, (t - 1.0) / 0.01
    wave = 39.0 * math.pi
    return p + 1.98 / wave * math.sin(wave * t / 2), d + 0.99 * math.cos(wave * t / 2)


def yanai(b1, b2):
    g1, g2 = (math.sqrt(1.0 + b * b) - b for b in (b1, b2))

    def phi(t):
        r1, r2 = math.sqrt((1.0 - t) ** 2 + b2 * b2), math.sqrt(t * t + b1 * b1)
        return g1 * r1 + g2 * r2, g1 * (t - 1.0) / r1 + g2 * t / r2

    return phi


# Moré and Thuente, ACM TOMS 20(3), 1994, section 5: functions, c1, c2, and for the first steps
# 1e-3, 1e-1, 1e1, 1e3 the evaluations and the steps found. The counts are those of the authors'
# cvsrch and dcsrch (MINPACK-2), which agree on all 24; the steps are dcsrch's in full precision.
PUBLISHED = [
    (rational, 1e-3, 1e-1, [6, 3, 1, 4], [1.365, 1.4413720790892741, 10.0, 36.88760696396662]),
    (
        quintic,
        0.1,
        0.1,
        [12, 8, 8, 11],
        [1.5960000000033279, 1.5960000000049348, 1.5959999997572032, 1.595999998872531],
    ),
    (
        rippled,
        0.1,
        0.1,
        [12, 12, 10, 13],
        [0.9999996797968318, 0.9999988033548208, 0.9999999876178056, 0.9999999017146377],
    ),
    (yanai(1e-3, 1e-3), 1e-3, 1e-3, [4, 1, 3, 4], [0.085, 0.1, 0.3491046164172457, 0.8294012431694555]),
    (
        yanai(1e-2, 1e-3),
        1e-3,
        1e-3,
        [6, 3, 7, 8],
        [0.07501087060006814, 0.07751042197802409, 0.07314201106894994, 0.07615927320141007],
    ),
    (
        yanai(1e-3, 1e-2),
        1e-3,
        1e-3,
        [13, 11, 8, 11],
        [0.9279032286386139, 0.9261500138380064, 0.924781673432206, 0.9243979067536415],
    ),
]
