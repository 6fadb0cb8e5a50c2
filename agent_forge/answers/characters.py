r"""One plain form for the many ways Unicode writes the same digit, sign or space.

    plain("1½ × 10⁻³")   ->  "1 1/2  × 10^{-3}"
    plain("−1 234,5")    ->  "-1234,5"            (no-break and thin spaces group digits)

Compatibility normalisation alone would turn `5²` into `52` and `1½` into `11/2`: other numbers. Question ids are
made of this form (`questions.normalise`), so a change here changes ids.
"""

import re
import unicodedata

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_VULGAR_FRACTION = re.compile("[¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞↉]")
_GROUPING_SPACE = re.compile("(?<=\\d)[\u00a0\u2007\u2009\u202f](?=\\d{3}(?!\\d))")
_EN_DASH_SIGN = re.compile(r"(?:(?<=[\s($=:>{#])|^)–(?=[\d.$€£¥])", re.MULTILINE)
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
# Signs that a reader takes for another character, and marks without width; only in answers.
_LOOKALIKES = str.maketrans(
    {
        "\u2012": "–",  # figure dash
        "\u2014": "–",  # em dash
        "\u2796": "-",  # heavy minus sign
        "\u02d7": "-",  # modifier letter minus
        "\u066b": ".",  # Arabic decimal separator
        "\u066c": ",",  # Arabic thousands separator
        "\ufe0e": "",
        "\ufe0f": "",
        "\u20e3": "",  # keycap
    }
)
_SIGN_ABOVE = re.compile(r"(?<![\w)}\]])\^\{([-+])\}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SAME_MEANING = str.maketrans(
    {
        "\u2010": "-",  # hyphen
        "\u2011": "-",  # no-break hyphen
        "\u2212": "-",  # minus sign
        "\u2044": "/",  # fraction slash
        "\u2215": "/",  # division slash
        "\u2217": "*",  # asterisk operator
        "\u22c5": "·",  # dot operator
        "\u2018": "'",
        "\u2019": "'",
        # Characters without width.
        "\u00ad": "",
        "\u200b": "",
        "\u200c": "",
        "\u200d": "",
        "\u200e": "",
        "\u200f": "",
        "\u2060": "",
        "\ufeff": "",
    }
)


def plain(text: str) -> str:
    """Return the text in NFKC, with ASCII digits and signs, superscripts as `^{...}` and fractions as `1/2`."""
    if text.isascii():
        return text
    text = _GROUPING_SPACE.sub("", text)
    text = _SUPERSCRIPT_RUN.sub(lambda run: f"^{{{run.group().translate(_SUPERSCRIPTS)}}}", text)
    text = _VULGAR_FRACTION.sub(lambda match: f" {unicodedata.normalize('NFKC', match.group())} ", text)
    text = unicodedata.normalize("NFKC", text).translate(_SAME_MEANING)
    text = _EN_DASH_SIGN.sub("-", text)
    # By kind of character, not by character: one sign can expand to eighteen.
    digits = {sign: unicodedata.decimal(sign, None) for sign in set(text)}
    return text.translate({ord(sign): str(digit) for sign, digit in digits.items() if digit is not None})


def encodable(text: str) -> str:
    """Return the text with replacement characters for lone surrogates, which no file or pipe can hold."""
    return _SURROGATE.sub("\ufffd", text)


def plain_answer(text: str) -> str:
    """Return `plain` of an answer: subscripts as `_{...}`, and as digits, signs and separators what is read as such."""
    if text.isascii():
        return text
    text = _SUBSCRIPT_RUN.sub(lambda run: f"_{{{run.group().translate(_SUBSCRIPTS)}}}", text)
    return _SIGN_ABOVE.sub(r"\1", plain(text.translate(_LOOKALIKES)))
