r"""Words and signs by which models announce an answer, in many languages, and by which they end a thought."""

from __future__ import annotations

import re

THINKING_END = re.compile(
    r"</(?:\w+:)?think(?:ing)?>|</(?:thoughts?|reasoning|scratchpad)>|\[/think(?:ing)?\]|\u25c1/think\u25b7"
    r"|<\|(?:end_of_thought|end_thinking|/think|think_end)\|>|<\|channel\|>final(?:<\|message\|>)?|assistantfinal",
    re.IGNORECASE,
)
TEXT_END = re.compile(
    r"</s>|<\|(?:im_end|endoftext|eot_id|end_of_text|eos|return|end|EOT)\|>|<(?:end_of_turn|eos)>|\[EOS\]"
    r"|<\uff5cend\u2581of\u2581sentence\uff5c>"
)

# What precedes and follows the word belongs to it: "final answer", "respuesta final".
_LATIN = (
    r"(?:final |correct )?(?:answer|ans)s?(?: key)?", r"(?:la )?respuesta(?: final| correcta)?",
    r"(?:la )?r[e\u00e9]ponse(?: finale| correcte)?", r"(?:die )?(?:endg[u\u00fc]ltige )?antwort", "endergebnis",
    r"(?:la )?risposta(?: finale| corretta)?", r"(?:a )?resposta(?: final| correta)?", r"(?:ostateczna )?odpowied\u017a",
    r"(?:nihai |son |do\u011fru )?cevap", r"(?:het )?(?:eind)?antwoord", r"(?:slut)?svar(?:et)?", r"vastaus",
    r"(?:fin\u00e1ln\u00ed )?odpov\u011b\u010f", r"jawaban(?:nya)?(?: akhir(?:nya)?)?", r"jibu(?: la mwisho)?",
    r"(?:(?:c\u00e2u )?tr\u1ea3 l\u1eddi|\u0111\u00e1p \u00e1n|\u0111\u00e1p s\u1ed1)(?: cu\u1ed1i c\u00f9ng)?",
    r"r\u0103spuns(?:ul)?(?: final)?", r"(?:a )?v\u00e1lasz",
)  # fmt: skip
_CYRILLIC_AND_GREEK = (
    r"(?:\u043e\u043a\u043e\u043d\u0447\u0430\u0442\u0435\u043b\u044c\u043d\u044b\u0439 )?\u043e\u0442\u0432\u0435\u0442",
    r"(?:\u043e\u0441\u0442\u0430\u0442\u043e\u0447\u043d\u0430 )?\u0432\u0456\u0434\u043f\u043e\u0432\u0456\u0434\u044c",
    r"\u03b1\u03c0\u03ac\u03bd\u03c4\u03b7\u03c3\u03b7",
)
_OTHERS = (
    "(?:\u6700\u7ec8|\u6700\u5f8c\u7684?|\u6700\u540e\u7684?|\u6700\u7d42|\u6b63\u786e)?\u7b54\u6848",  # Chinese
    "(?:\u6700\u7d42)?(?:\u7684\u306a)?(?:\u7b54\u3048|\u89e3\u7b54|\u56de\u7b54|\u7b54(?=[:\uff1a]))",  # Japanese
    r"(?:\ucd5c\uc885 )?(?:\uc815\ub2f5|\ub2f5\ubcc0|\ub2f5)",  # Korean
    "\u0e04\u0e33\u0e15\u0e2d\u0e1a(?:\u0e2a\u0e38\u0e14\u0e17\u0e49\u0e32\u0e22)?",  # Thai
    "(?:\u099a\u09c2\u09a1\u09bc\u09be\u09a8\u09cd\u09a4 )?\u0989\u09a4\u09cd\u09a4\u09b0",  # Bengali
    "\u0c38\u0c2e\u0c3e\u0c27\u0c3e\u0c28\u0c02",  # Telugu
    "(?:\u0905\u0902\u0924\u093f\u092e )?\u0909\u0924\u094d\u0924\u0930",  # Hindi
    "(?:\u0627\u0644\u0625\u062c\u0627\u0628\u0629|\u0627\u0644\u062c\u0648\u0627\u0628)(?: \u0627\u0644\u0646\u0647\u0627\u0626\u064a\u0629?)?",  # Arabic
    "\u062a\u05e9\u05d5\u05d1\u05d4|\u05ea\u05e9\u05d5\u05d1\u05d4|\u067e\u0627\u0633\u062e",  # Hebrew, Persian
)
_WORD = f"(?:(?<![^\\W_])(?:{'|'.join((*_LATIN, *_CYRILLIC_AND_GREEK))})|{'|'.join(_OTHERS)})"
_COPULA = (
    r"(?:is|was|are|equals|would be|should be|must be|will be|es|est|ist|lautet|betr\u00e4gt|\u00e8|\u00e9|to|jest|adalah"
    r"|ni|l\u00e0|este|\u00e4r|\u0440\u0430\u0432\u0435\u043d|\u0431\u0443\u0434\u0435\u0442|\u0647\u064a|\u0647\u0648)(?![^\W\d_])"
    "|\u662f|\u4e3a|\u70ba|\u7b49\u4e8e|\u306f|\uc740|\ub294|\u0e04\u0e37\u0e2d|\u0e40\u0e17\u0e48\u0e32\u0e01\u0e31\u0e1a|\u09b9\u09b2\u09cb?|\u09b9\u099a\u09cd\u099b\u09c7|\u0939\u0948|=|\u2014|\u2013"
)
_BOLD = r"[ \t]*[*_]{0,3}[ \t]*"

ANSWER_COLON = re.compile(
    rf"{_WORD}(?:[ \t]*\([^()\n]{{1,30}}\))?(?:[ \t]+to (?:the|this) (?:problem|question))?{_BOLD}"
    rf"(?:{_COPULA})?{_BOLD}[:\uff1a]{_BOLD}",
    re.IGNORECASE,
)
ANSWER_HEADING = re.compile(
    rf"^[ \t]*+[#*_][#*_ \t]*+(?:[0-9]+[.)][ \t]*)?(?:the )?{_WORD}[ \t*_:\uff1a#]*$",
    re.IGNORECASE | re.MULTILINE,
)
ANSWER_TAG = re.compile(
    r"<(?:final_?)?answer>(.{0,2000}?)(?:</(?:final_?)?answer>|\Z)|\[answer\](.{0,2000}?)\[/answer\]"
    r"|<\|begin_of_solution\|>(.{0,2000}?)<\|end_of_solution\|>",
    re.IGNORECASE | re.DOTALL,
)
MINERVA = re.compile(
    r"answer is[ \t]*:?[ \t]*((?:(?!answer is).){1,1000}?)\.?\s*I hope (?:it|this) is correct",
    re.IGNORECASE | re.DOTALL,
)
ANSWER_IS = re.compile(
    rf"(?:{_WORD}(?:[ \t]+to (?:the|this) (?:problem|question))?|correct (?:option|choice)){_BOLD}"
    rf"(?:{_COPULA}|(?<=[\u0c00-\u0c7f\u0900-\u097f\u0980-\u09ff])){_BOLD}(?:(?:therefore|thus|then|simply|just)[ \t]+)?",
    re.IGNORECASE,
)
SENTENCE_ENDINGS = re.compile(
    "(?:\u3067\u3059|\u3067\u3042\u308b|\u3068\u306a\u308a\u307e\u3059|\u306b\u306a\u308a\u307e\u3059|\uc785\ub2c8\ub2e4|\uc774\ub2e4|\u0939\u0948|\u0964|\u3002|\uff0e)+$"
)
