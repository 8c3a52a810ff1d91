r"""Words and signs by which models announce an answer, in many languages, and by which they end a thought."""

from __future__ import annotations

import re

THINKING_END = re.compile(
    r"</(?:\w+:)?think(?:ing)?>|</(?:thoughts?|reasoning|scratchpad)>|\[/think(?:ing)?\]|◁/think▷"
    r"|<\|(?:end_of_thought|end_thinking|/think|think_end)\|>|<\|channel\|>final(?:<\|message\|>)?|assistantfinal",
    re.IGNORECASE,
)
TEXT_END = re.compile(
    r"</s>|<\|(?:im_end|endoftext|eot_id|end_of_text|eos|return|end|EOT)\|>|<(?:end_of_turn|eos)>|\[EOS\]"
    r"|<｜end▁of▁sentence｜>"
)

# What precedes and follows the word belongs to it: "final answer", "respuesta final".
_WORDS_OF_LETTERS = (
    r"(?:final |correct )?(?:answer|ans)s?(?: key)?",
    r"(?:la )?respuesta(?: final| correcta)?",
    r"(?:la )?r[eé]ponse(?: finale| correcte)?",
    r"(?:die )?(?:endg[uü]ltige )?antwort|endergebnis",
    r"(?:la )?risposta(?: finale| corretta)?",
    r"(?:a )?resposta(?: final| correta)?",
    r"(?:ostateczna )?odpowiedź",
    r"(?:nihai |son |doğru )?cevap",
    r"(?:het )?(?:eind)?antwoord",
    r"(?:slut)?svar(?:et)?",
    r"vastaus",
    r"(?:finální )?odpověď",
    r"jawaban(?:nya)?(?: akhir(?:nya)?)?",
    r"jibu(?: la mwisho)?",
    r"(?:(?:câu )?trả lời|đáp án|đáp số)(?: cuối cùng)?",
    r"răspuns(?:ul)?(?: final)?",
    r"(?:a )?válasz",
    r"(?:окончательный )?ответ",
    r"(?:остаточна )?відповідь",
    r"απάντηση",
)
_WORDS_OF_SIGNS = (
    "(?:最终|最後的?|最后的?|最終|正确)?答案",
    "(?:最終)?(?:的な)?(?:答え|解答|回答|答(?=[:：]))",
    "(?:최종 )?(?:정답|답변|답)",
    "คำตอบ(?:สุดท้าย)?",
    "(?:চূড়ান্ত )?উত্তর",
    "సమాధానం",
    "(?:अंतिम )?उत्तर",
    "(?:الإجابة|الجواب)(?: النهائية?)?",
    "תשובה|پاسخ",
)
_WORD = f"(?:(?<![^\\W_])(?:{'|'.join(_WORDS_OF_LETTERS)})|{'|'.join(_WORDS_OF_SIGNS)})"
_COPULA = (
    r"(?:is|was|are|equals|would be|should be|must be|will be|es|est|ist|lautet|beträgt|è|é|to|jest|adalah|ni|là|este"
    r"|är|равен|будет|هي|هو)(?![^\W\d_])"
    "|是|为|為|等于|は|은|는|คือ|เท่ากับ|হলো?|হচ্ছে|है|=|—|–"
)
_WITHOUT_COPULA = "(?<=[\u0c00-\u0c7f\u0900-\u097f\u0980-\u09ff])"  # Telugu, Hindi and Bengali may do without
_BOLD = r"[ \t]*[*_]{0,3}[ \t]*"

ANSWER_COLON = re.compile(
    rf"{_WORD}(?:[ \t]*\([^()\n]{{1,30}}\))?(?:[ \t]+to (?:the|this) (?:problem|question))?{_BOLD}"
    rf"(?:{_COPULA})?{_BOLD}[:：]{_BOLD}",
    re.IGNORECASE,
)
ANSWER_HEADING = re.compile(
    rf"^[ \t]*+[#*_][#*_ \t]*+(?:[0-9]+[.)][ \t]*)?(?:the )?{_WORD}[ \t*_:：#]*$",
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
    rf"(?:{_COPULA}|{_WITHOUT_COPULA}){_BOLD}(?:(?:therefore|thus|then|simply|just)[ \t]+)?",
    re.IGNORECASE,
)
SENTENCE_ENDINGS = re.compile("(?:です|である|となります|になります|입니다|이다|है|।|。|．)+$")
