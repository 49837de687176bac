# Flattens a JSON document: one line "path TAB value" for each string, number and boolean. A path is made of the keys
# and array indexes, joined by dots. In values, a backslash, tab and newline stay escaped, so `printf %b` restores
# them. Nulls, empty objects and empty arrays give no line. Exits with 1 when the text is not JSON up to its end.

BEGIN {
    token_pattern = "^[ \t\r\n]*(\"([^\"\\\\]|\\\\.)*\"|-?[0-9][-+0-9.eE]*|true|false|null|[][{}:,])"
    for (i = 0; i < 16; i++)
        digit[substr("0123456789abcdef", i + 1, 1)] = i
}

{ text = text $0 "\n" }

function hex(word,    i, n) {
    word = tolower(word)
    n = 0
    for (i = 1; i <= 4; i++)
        n = n * 16 + digit[substr(word, i, 1)]
    return n
}

function utf8(n) {
    if (n < 128)
        return sprintf("%c", n)
    if (n < 2048)
        return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
    if (n < 65536)
        return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
    return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, 128 + int(n / 64) % 64, 128 + n % 64)
}

# The contents of a string token without its quotes.
function unquote(token,    rest, out, at, c, n, low) {
    rest = substr(token, 2, length(token) - 2)
    out = ""
    while ((at = index(rest, "\\")) > 0) {
        out = out substr(rest, 1, at - 1)
        c = substr(rest, at + 1, 1)
        n = 2
        if (c == "n" || c == "t" || c == "\\")
            out = out "\\" c
        else if (c == "r")
            out = out "\r"
        else if (c == "b")
            out = out "\b"
        else if (c == "f")
            out = out "\f"
        else if (c == "u") {
            code = hex(substr(rest, at + 2, 4))
            n = 6
            if (code >= 55296 && code < 56320 && substr(rest, at + 6, 2) == "\\u") {
                low = hex(substr(rest, at + 8, 4))
                code = 65536 + (code - 55296) * 1024 + low - 56320
                n = 12
            }
            if (code == 9 || code == 10 || code == 92)
                out = out (code == 9 ? "\\t" : code == 10 ? "\\n" : "\\\\")
            else if (code > 0)
                out = out utf8(code)
        } else
            out = out c
        rest = substr(rest, at + n)
    }
    return out rest
}

function path(    i, joined) {
    joined = key[1]
    for (i = 2; i <= depth; i++)
        joined = joined "." key[i]
    return joined
}

END {
    depth = 0
    expects_key = 0
    while (match(text, token_pattern)) {
        token = substr(text, 1, RLENGTH)
        text = substr(text, RLENGTH + 1)
        sub(/^[ \t\r\n]+/, "", token)
        first = substr(token, 1, 1)
        if (first == "{" || first == "[") {
            depth++
            kind[depth] = first
            key[depth] = 0
            expects_key = first == "{"
        } else if (first == "}" || first == "]") {
            depth--
            expects_key = 0
        } else if (first == ",") {
            if (kind[depth] == "{")
                expects_key = 1
            else
                key[depth]++
        } else if (first == ":")
            expects_key = 0
        else if (expects_key)
            key[depth] = unquote(token)
        else if (token != "null")
            print path() "\t" (first == "\"" ? unquote(token) : token)
    }
    exit !(depth == 0 && text ~ /^[ \t\r\n]*$/)
}
