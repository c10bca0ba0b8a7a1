"""Hidden characters that must be shown as code points, and names that must be shown unchanged."""

#: Each alone between Latin letters.
HIDDEN = (
    "\0\x1f\x7f\x85\xad\u034f\u061c\u115f\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069\u206a\u2800\u3164\ufeff\uffa0\ufff9\U000e0041"
)
SHOWN = (
    "\u062a\u0642\u0631\u064a\u0631 2024.pdf",  # Arabic
    "\u05d3\u05d5\u05d7.docx",  # Hebrew
    "\u0645\u06cc\u200c\u0631\u0648\u0645.txt",  # Persian, with a non-joiner
    "\u0915\u094d\u200d\u0937.txt",  # Hindi, with a joiner
    "\U0001f469\U0001f3fd\u200d\U0001f4bb \u2764\ufe0f\u200d\U0001f525 \U0001f468\u200d\U0001f469\u200d\U0001f467.png",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f.png",  # the flag of England
    "\u56fe\u7247 e\u0301\u00a0a\tb\n",
)
