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
    r"(?:final |correct )?(?:answer|ans)s?(?: key)?|correct (?:option|choice)",
    r"(?:la )?respuesta(?: final| correcta)?",
    r"(?:la )?r[eé]ponse(?: finale| correcte)?",
    r"(?:die )?(?:endg[uü]ltige )?antwort|endergebnis",
    r"(?:la )?risposta(?: finale| corretta)?",
    r"(?:a )?resposta(?: final| correta)?",
    r"(?:ostateczna )?odpowiedź(?: to)?",
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
    "(?:最终|最後的?|最后的?|最終|正确)?答案(?:选)?|故选|应选",
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
    r"(?:is|was|are|equals|(?:would|should|must|will) be|(?:comes|turns) out to(?: be)?|comes to|was found to be"
    r"|es|est|ist|lautet|beträgt|è|é|jest|adalah|ni|là|este|är|равен|будет|هي|هو)(?![^\W\d_])"
    "|是|为|為|等于|は|은|는|คือ|เท่ากับ|হলো?|হচ্ছে|है|=|—|–"
)
_WITHOUT_COPULA = "(?<=[\u0c00-\u0c7f\u0900-\u097f\u0980-\u09ff选])"  # Telugu, Hindi and Bengali may do without
_BOLD = r"[ \t]*(?:[*_]{1,3}|</?b>)?[ \t]*"
_WHICH = r"(?:[ \t]*\([^()\n]{1,30}\)|,?[ \t]+(?:to|for|in|of|rounded|as)[ \t][^.:：\n$\\]{1,40}?,?(?=[ \t:：]))?"
# They stand before an answer and change nothing.
STRESS_WORDS = (
    "therefore|thus|then|simply|just|exactly|clearly|indeed|also|now|only|approximately|about|roughly|equal to"
)
_STRESS = rf"(?:(?:{STRESS_WORDS}|donc|ist)[ \t]+)?"

ANSWER_COLON = re.compile(
    rf"{_WORD}{_WHICH}{_BOLD}(?:{_COPULA})?{_BOLD}(?:[:：]|(?<=[ \t])[-–—](?=[ \t])){_BOLD}", re.IGNORECASE
)
ANSWER_HEADING = re.compile(
    r"^[ \t]*+(?:[#*_>]|\\(?:sub)*section\*?\{|\\textbf\{)*+[#*_ \t]*+(?:[^\w\s]{1,2}[ \t]*)?(?:\*\*)?"
    rf"(?:step[ \t]*[0-9]+[:.]?[ \t]*|[0-9]+[.)][ \t]*)?(?:the |your )?{_WORD}"
    r"(?:[ \t]*\([^()\n]{1,30}\)| to (?:the|this) (?:problem|question)| and conclusion)?[ \t*_:：#}`]*$",
    re.IGNORECASE | re.MULTILINE,
)
ANSWER_TAG = re.compile(
    r"<(?:final_?)?answer>(.{0,2000}?)(?:</(?:final_?)?answer>|\Z)|\[answer\](.{0,2000}?)\[/answer\]"
    r"|<\|begin_of_solution\|>(.{0,2000}?)<\|end_of_solution\|>",
    re.IGNORECASE | re.DOTALL,
)
ANSWER_FIELD = re.compile(
    r"[\"'](?:final[_ ]?)?answer[\"']\s*:\s*"
    r"(?:\"((?:[^\"\\\n]|\\.){0,1000})\"|'([^'\n]{0,1000})'|([^\s,}\"'][^,}\n]{0,100}))",
    re.IGNORECASE,
)
"""The answer of a response in JSON."""
MINERVA = re.compile(
    r"answer is[ \t]*:?[ \t]*((?:(?!answer is).){1,1000}?)\.?\s*I hope (?:it|this) is correct",
    re.IGNORECASE | re.DOTALL,
)
ANSWER_IS = re.compile(rf"{_WORD}{_WHICH}{_BOLD}(?:{_COPULA}|{_WITHOUT_COPULA}){_BOLD}{_STRESS}", re.IGNORECASE)
OTHERWISE_ABROAD = re.compile(
    r"(?<![^\W_])(?:mindestens|höchstens|nicht|kein|plus de|moins de|au moins|au plus|n'est pas|al menos|más de"
    r"|menos de|no es|не|больше|меньше|almeno|più di|meno di|non è|co najmniej|nie|inte|não|mais de|en az|en fazla"
    r"|oder|weniger als|mehr als|minst|minstens|niet|pelo menos|minimal|maksimal|ít nhất|không phải)(?![^\W_])"
    "|değil|아님|至少|至多|大于|小于|不是|以上|以下|未満|이상|이하|아닙|ではあり|ではな|的平方"
)
"""Words of other languages that make a number behind or before them another: at least, more than, not."""
SCALES_ABROAD = re.compile(
    "[万亿億만억]|тысяч|миллион|миллиард|million|milliard|millon|milhõ|mila|mille|tausend|triệu|nghìn|ribu|juta|tysi|milion",
    re.IGNORECASE,
)
SENTENCE_ENDINGS = re.compile("(?:です|である|となります|になります|입니다|이다|है|।|。|．)+$")
