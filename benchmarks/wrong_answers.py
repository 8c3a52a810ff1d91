r"""Wrong answers of the kind that costs a reward most time: prose in a box, chains of equalities, steps, long sums.

    python benchmarks/wrong_answers.py --seed 0 --count 2800

Ground truths are as in college mathematics: numbers, fractions, radicals, expressions in one or two variables,
intervals, equations, matrices, words. Every answer differs from its ground truth in value, by construction: it states
another object of the same template, one coefficient changed, or a number that is none of the ground truth's. None
should be accepted, and a verifier that reads prose as a product of its letters needs minutes to find that out.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from answers import Case, accuracy, batches, processor_seconds, table
from college_golds import ONE_VARIABLE, Gold, apart, make_gold

from lspo.rewards import MathReward

BATCH = 64
# Formulas stand between < and >. {0} is another value or object than the ground truth's; {1} and {2} are numbers, {4}
# their product, {3} an expression.
PROSE = {
    "number": (
        "The side of the square has length <\\sqrt{{{1}}} \\approx {0}>",
        "The area enclosed by the two curves is approximately <{0}> square units",
        "The average rate of change over the first <{1}> seconds is <{0}>",
        "Therefore the maximum value of the function on the given interval is <{0}> and it is attained at <x = {1}>",
        "The probability that a randomly chosen student plays chess equals <{0}>",
        "There are <{1}> people in the first group and <{2}> people in the second group, hence <{0}> in total",
        "The limit does not depend on <n> and equals <{0}>",
        "The determinant of the matrix is <{0}>, so the system has a unique solution",
        "The distance between the lighthouse and the boat is about <{0}> when the angle is <{1}^{{\\circ}}>",
        "By symmetry the centroid lies on the axis at height <\\bar{{y}} = {0}>",
    ),
    "object": (
        "The derivative of the function is <{0}> by the product rule",
        "The general solution of the differential equation is <{0}> where <C> is an arbitrary constant",
        "The integral evaluates to <{0}>, which can be checked by differentiating",
        "The answer in simplest form is <{0}> for all <x \\neq {1}>",
        "After completing the square we obtain <{0}>",
        "The required expression is <{0}>, defined for <x > {1}>",
    ),
    "words": (
        "The answer is {0} because the discriminant <b^{{2}} - 4 a c = {1}> is positive",
        "It is {0}, as one sees from <\\lim_{{n \\to \\infty}} \\frac{{n + {1}}}{{{2} n}}>",
        "{0} since <x^{{2}} + {1} y^{{2}} = {2}>",
        "we have {0}",
    ),
}
HALF_SENTENCES = (
    "so that <f'(x) = {3}> and hence it must be <{0}>",
    "which gives <{3} = {1}>, thus <{0}> as required",
    "where <t> is measured in hours after noon and <P(t) = {3}>, that is <{0}>",
    "since <\\sin^{{2}}\\theta + \\cos^{{2}}\\theta = 1> the value becomes <{0}>",
    "if <x \\le {1}>, and <{0}> otherwise, provided that <{3} \\neq 0>",
    "for every positive integer <n \\ge {1}> by induction on <n>, giving <{0}>",
    "the cost of producing <x> units is <C(x) = {3}> dollars so the marginal cost is <{0}>",
)
STEPS = (
    "Step 1: Let <u = {3}>. Step 2: Then <du = {1} dx>. Step 3: Substituting gives <{0}>",
    "1. Set <{3} = 0>. 2. Solve for <x>: <x = {1}> or <x = -{2}>. 3. Therefore <{0}>",
    "(a) <{3}> (b) <x = {1}> (c) <{0}>",
    "First, <a = {1}>; second, <b = {2}>; third, <a b = {4}>; finally, <{0}>",
    "\\text{{Differentiate: }} {3} \\\\ \\text{{Set to zero: }} x = {1} \\\\ \\text{{Result: }} {0}",
)
UNITS = (
    "The tank is empty after <{0}> minutes if it drains at <{1}> liters per minute",
    "The car travels <{0} \\text{{ miles}}> in <{1} \\text{{ hours}}>",
    "<{0}> \\text{{ square centimeters, or about }} <{1}> \\text{{ square inches}}",
    "{0} \\mathrm{{~kg}} \\cdot \\mathrm{{m}} / \\mathrm{{s}}^{{2}} \\text{{ at }} {1} \\mathrm{{~m}} / \\mathrm{{s}}",
    "The population reaches <{0}> thousand people in the year <{1}> at a growth rate of <{2}> percent per year",
    "The work done in pumping the water is <{0}> foot-pounds, the density being <{1}> pounds per cubic foot",
)


def chain(gold: Gold, chance: random.Random) -> str:
    """Equalities that end in something wrong; every part of a chain of numbers has the same wrong value."""
    if gold.value is None:
        parts = [chance.choice(("x", "f'(x)", "A", "\\int f(x) dx")), expression(chance), gold.other(chance)]
        return " = ".join(parts)
    name = chance.choice(("x", "A", "\\theta", "P(X > 3)", "\\int_{0}^{3} f(x) \\, dx", "\\lim_{n \\to \\infty} a_n"))
    while True:
        above, below = chance.randint(3, 300), chance.choice((2, 4, 5, 8, 20))
        if apart(above / below, gold.value):
            break
    factor = chance.randint(2, 7)
    parts = [
        f"\\frac{{{factor * above}}}{{{factor * below}}}",
        f"\\frac{{{above}}}{{{below}}}",
        f"{above} \\cdot \\frac{{1}}{{{below}}}",
        f"\\sqrt{{\\frac{{{above**2}}}{{{below**2}}}}}",
    ]
    return " = ".join([name, *chance.sample(parts, chance.randint(2, 4)), f"{above / below:g}"])


def long_sum(gold: Gold, chance: random.Random) -> str:
    while True:
        parts = [Fraction(chance.randint(1, 9), chance.randint(2, 30)) for _ in range(chance.randint(6, 30))]
        if gold.value is None or apart(float(sum(parts)), gold.value):
            break
    terms = " + ".join(f"\\frac{{{one.numerator}}}{{{one.denominator}}}" for one in parts)
    if chance.random() < 0.5:
        return terms
    return f"{terms} \\approx {float(sum(parts)):.4f}"


def expression(chance: random.Random) -> str:
    return chance.choice(ONE_VARIABLE).format(*(chance.randint(2, 12) for _ in range(4)))


def sentence(templates: Sequence[str], gold: Gold, chance: random.Random) -> str:
    first, second = chance.sample(range(2, 100), 2)
    stated = gold.other(chance)
    text = chance.choice(templates).format(stated, first, second, expression(chance), first * second)
    return typeset(text, chance)


def typeset(text: str, chance: random.Random) -> str:
    """Formulas in dollar signs, or bare, or the words in text commands: as policies write a sentence in a box."""
    style = chance.choice(("dollars", "bare", "bare", "text"))
    pieces = re.split(r"<(.*?)>(?=[^<>]*(?:<|$))", text)
    if style == "text" and "\\text" not in text:
        return "".join(
            piece if place % 2 else f"\\text{{{piece}}}" if piece.strip() else piece
            for place, piece in enumerate(pieces)
        )
    mark = "$" if style == "dollars" else ""
    return "".join(f"{mark}{piece}{mark}" if place % 2 else piece for place, piece in enumerate(pieces))


def prose(gold: Gold, chance: random.Random) -> str:
    kind = "words" if gold.kind == "words" else "object" if gold.value is None else "number"
    return sentence(PROSE[kind], gold, chance)


STYLES: dict[str, Callable[[Gold, random.Random], str]] = {
    "prose": prose,
    "chain of equalities": chain,
    "half sentence": lambda gold, chance: sentence(HALF_SENTENCES, gold, chance),
    "steps": lambda gold, chance: sentence(STEPS, gold, chance),
    "units": lambda gold, chance: sentence(UNITS, gold, chance),
    "long sum": long_sum,
    "near miss": lambda gold, chance: gold.near(chance),
}


def states(answer: str, gold: Gold) -> bool:
    """Whether the ground truth stands in the answer, if only by the way: then it is left out."""
    if gold.value is None:
        return gold.text in answer
    return gold.text in answer or any(
        not apart(float(found), abs(gold.value)) for found in re.findall(r"\d+(?:\.\d+)?", answer)
    )


def wrong_answers(seed: int, count: int) -> list[Case]:
    chance = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        gold, style = make_gold(chance), list(STYLES)[len(cases) % len(STYLES)]
        answer = STYLES[style](gold, chance)
        if style == "near miss" or not states(answer, gold):
            cases.append(Case(style, gold.text, f"Let us see. It is \\boxed{{{answer}}}", False))
    return cases


def by_style(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Batches of one style each, the styles in turn."""
    block = BATCH * len(STYLES)
    for start in range(0, len(cases), block):
        for style in STYLES:
            if batch := [one for one in cases[start : start + block] if one.kind == style]:
                yield batch


def measure(cases: Sequence[Case], limit_seconds: float | None) -> None:
    """Prints what a reward with one worker accepts of wrong answers, and how long it takes."""
    reward = MathReward(workers=1)
    accepted: list[Case] = []
    seconds, done = dict.fromkeys(STYLES, 0.0), dict.fromkeys(STYLES, 0)
    before, started = processor_seconds(), time.perf_counter()
    for batch in by_style(cases):
        if limit_seconds is not None and time.perf_counter() - started > limit_seconds:
            break
        begun, style = time.perf_counter(), batch[0].kind
        scores = reward.score_batch(next(batches(batch)))
        seconds[style] += time.perf_counter() - begun
        done[style] += len(batch)
        accepted += [one for one, score in zip(batch, scores, strict=True) if accuracy(score) == 1]
        print(f"{sum(done.values())} of {len(cases)}", file=sys.stderr)
    wall, counts = time.perf_counter() - started, reward.metrics()
    reward.close()
    processor, total = processor_seconds() - before, sum(done.values())
    rows = [
        (style, done[style], sum(one.kind == style for one in accepted), f"{seconds[style]:.1f}") for style in STYLES
    ]
    print(table(("style", "answers", "wrongly accepted", "seconds"), rows))
    print(
        f"\n{total} of {len(cases)} answers in {wall:.1f} s ({processor:.1f} processor seconds), "
        f"{total / wall:.1f} answers per second, {len(accepted)} wrongly accepted."
    )
    print(", ".join(f"{name} {count:.0f}" for name, count in counts.items()))
    for one in accepted:
        print(f"{one.kind}: gold {one.gold!r}, response {one.response!r}")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=2800, help="how many answers")
    parser.add_argument("--limit-seconds", type=float, help="stop after this long, and say how many are done")
    parser.add_argument("--show", action="store_true", help="print the answers instead of scoring them")
    arguments = parser.parse_args(words)
    cases = wrong_answers(arguments.seed, arguments.count)
    if arguments.show:
        print("\n".join(f"{one.kind}: gold {one.gold!r}, response {one.response!r}" for one in cases))
        return
    measure(cases, arguments.limit_seconds)


if __name__ == "__main__":
    main()
