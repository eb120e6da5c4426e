"""Requests that a service must survive: data alone, for the contract `tasks.BINARY`.

Every case has a name, what is sent, and the statuses that are right; two of them where the contract leaves it open.
`MARKER` stands wherever a text, a key, a path or a header can hold it: it must come back in no answer and no log.
"""

import gzip
import json
from collections.abc import Callable

MARKER = "zq9marker"
OK, BAD, EITHER = {200}, {400}, {200, 400}
DEEP = 100_000

# column -> a valid value, as JSON text
ROW = {
    "weight": "12.5",
    "visits": "3",
    "insured": "true",
    "kind": '"box"',
    "street": '"Oak"',
    "ordered": '"2024-04-01T10:30:00"',
}
DATATYPES = {
    "weight": "FP64",
    "visits": "INT64",
    "insured": "BOOL",
    "kind": "BYTES",
    "street": "BYTES",
    "ordered": "BYTES",
    "sent": "BYTES",
    "parcel": "BYTES",
}

# (column, value as JSON text, statuses): put into the row, or into the data of the tensor
VALUES: list[tuple[str, str, set[int]]] = [
    *[
        ("weight", text, BAD)
        for text in """NaN Infinity -Infinity nan inf -inf 1e400 -1e400 1e39 -1e39 1e999999999 3.5e38 60.0000001
        -0.0000001 61 -1 01 1. .5 +1 0x10 0b1 1_000 1,5 \uff11\uff12 - 1e 1e+ --1 1e1.5 12.5f None True
        undefined true false null [12.5] [] {} "" "12.5" "NaN" "Infinity" "1e400" {"weight":12.5} [[12.5]]
        12.5.0 12..5 1e1e1 0o7 12L \u221e \u00bd \u0661\u0662""".split()
    ],
    ("weight", "9" * 5000, BAD),
    ("weight", "-" + "9" * 5000, BAD),
    ("weight", "1e" + "9" * 5000, BAD),
    ("weight", f'"{MARKER}"', BAD),
    ("weight", f'{{"{MARKER}": "{MARKER}"}}', BAD),
    ("weight", '{"$numberDouble": "12.5"}', BAD),
    ("weight", "[" * 5000 + "]" * 5000, BAD),
    *[("weight", text, OK) for text in "-0.0 -0 0 60 60.0 1E1 1e+1 1e-300 12.500000000000000001".split()],
    *[("weight", text, EITHER) for text in ("1e-400", "0e999999999", "60.000000000000000001", "0." + "1" * DEEP)],
    *[
        ("visits", text, BAD)
        for text in """5.5 41 -1 9007199254740993 9223372036854775808 -9223372036854775809 18446744073709551616
        1e400 NaN Infinity 0.1 3.0000001 true false "3" "" [3] {} [] 3n 03 1e2""".split()
    ],
    ("visits", "1" * 5000, BAD),
    ("visits", f'"{MARKER}"', BAD),
    *[("visits", text, OK) for text in "null 0 40 -0".split()],
    *[("visits", text, EITHER) for text in "5.0 1e1 -0.0 3.0000000000000000001".split()],
    *[
        ("insured", text, BAD)
        for text in 'null 1 0 1.0 -1 "true" "false" "" "yes" [] [true] {} TRUE True t NaN'.split()
    ],
    ("insured", f'"{MARKER}"', BAD),
    *[
        ("kind", text, BAD)
        for text in """null 1 true [] ["box"] {} "" "Box" "BOX" "box\\u0000" "\\u0000box" "b\u043ex"
        "\uff42\uff4f\uff58" "box\\n" "\\ud83d" "b\\udc00x" "nan" "None" "null" "box,letter" box 'box' "box""".split()
    ],
    ("kind", '" box"', BAD),
    ("kind", '"box "', BAD),
    ("kind", f'"{MARKER}"', BAD),
    ("kind", f'"{MARKER * 100_000}"', BAD),
    ("kind", '"b\\u006fx"', OK),
    *[
        ("street", text, BAD)
        for text in r"""1 true 12.5 [] ["Oak"] {} NaN "\ud800" "\udc00" "\udc00\ud800" "\ud83d\u0041"
        "Oak\ud83d" "\x41" "\u12" "\u" "\a" 'Oak' Oak "Oak \u{41} "\uD8""".split()
    ],
    ("street", f'["{MARKER}"]', BAD),
    ("street", f'{{"{MARKER}": 1}}', BAD),
    *[("street", f'"O{character}k"', BAD) for character in "\x00\x01\x08\n\r\t\x1f"],
    *[
        ("street", text, OK)
        for text in r"""null "Elm" "never-seen" "\ud83d\ude00" "../../etc/passwd" "${jndi:ldap://x}" "%s%n%x"
        "{}" "{0}" "<b>" "'OR'1'='1" "=cmd()" "\u0061" "\/" "\"" "\\" "nan" "null" "NaN" "None" "\u2028"
        "\u001b[31m" "\uffff" "A\u0300" null""".split()
    ],
    ("street", f'"{MARKER}"', OK),
    *[("street", f'"{text}"', OK) for text in ("\U0001f600", "\u202eOak", "\u00e9", "e\u0301", "\u6771\u4eac")],
    ("street", '"\u2028\u2029\u0085"', OK),
    *[("street", text, EITHER) for text in (r'"\u0000"', r'"a\u0000b"', '""', '" "', '"\ufeff"', '"\x7f"')],
    ("street", f'"{"x" * 1_000_000}"', EITHER),
    ("street", '"' + "\\ud83d\\ude00" * 50_000 + '"', EITHER),
    *[
        ("ordered", f'"{text}"', BAD)
        for text in """2024-04-01T10:30:00Z 2024-04-01T10:30:00z 2024-04-01T10:30:00+02:00
        2024-04-01T10:30:00-00:00 2024-04-01T10:30:00+0000 2024-02-30T00:00:00 2023-02-29T00:00:00
        2024-13-01T00:00:00 2024-00-01T00:00:00 2024-04-00T00:00:00 2024-04-01T25:00:00 2024-04-01T10:60:00
        2024-04-01T10:30:60 2024-04-01T10:30:61 1711967400 1711967400.5 -1 0 1e9 2024 24-04-01 01.04.2024
        04/01/2024 99999-01-01T00:00:00 10000-01-01T00:00:00 0000-00-00T00:00:00 0000-01-01T00:00:00
        -2024-04-01T10:30:00 +2024-04-01T10:30:00 now today NaT nat nan null None
        \uff12\uff10\uff12\uff14-04-01T10:30:00 2024-04-01T10:30:00\\u0000 \\u00002024-04-01T10:30:00
        2024-04-01T10:30:00[UTC] 2024-04-01T10:30:00Europe/Berlin P1D 10:30:00 2024-4-1T10:30:00 2024-04-01T
        2024-04-01T10:30:00. 2024-04-01T10:3 \\ud800""".split()
    ],
    ("ordered", '""', BAD),
    ("ordered", f'"{MARKER}"', BAD),
    ("ordered", '" 2024-04-01T10:30:00"', BAD),
    ("ordered", '"2024-04-01T10:30:00 "', BAD),
    ("ordered", '"2024-04-01T10:30:00 UTC"', BAD),
    ("ordered", '"' + "2" * 100_000 + '"', BAD),
    *[
        ("ordered", text, BAD)
        for text in 'null 1711967400 1711967400000 0 true [] {} ["2024-04-01T10:30:00"] NaN'.split()
    ],
    *[
        ("ordered", f'"{text}"', OK)
        for text in """2024-04-01T10:30:00 2024-04-01T10:30 2024-04-01T10:30:00.5 2024-04-01T10:30:00.123456
        2024-02-29T23:59:59 2024-04-01T10:30:0\\u0030""".split()
    ],
    *[
        ("ordered", f'"{text}"', EITHER)
        for text in """2024-04-01 20240401 20240401T103000 2024-W14-1 2024-092 2024-04-01T10 2024-04-01t10:30:00
        2024-04-01_10:30:00 2024-04-01T10:30:00.123456789 2024-04-01T10:30:00,5 2024-04-01T24:00:00
        0001-01-01T00:00:00 1600-01-01T00:00:00 9999-12-31T23:59:59""".split()
    ],
    ("ordered", '"2024-04-01 10:30:00"', EITHER),
    *[
        ("sent", text, BAD)
        for text in f'1 true [] {{}} 1711967400 "{MARKER}" "" "2024-02-30T00:00:00" "1711967400" "NaT"'.split()
    ],
    *[("parcel", text, BAD) for text in '1 12.5 true [] {} ["P1"] "\\ud800" NaN'.split()],
    ("sent", '"2024-04-02T08:00:00"', OK),
    ("parcel", '"P1"', OK),
    ("parcel", f'"{MARKER}"', OK),
    ("parcel", '"\u2028"', OK),
    ("parcel", f'"{"P" * 100_000}"', EITHER),
]

# (name of another column as JSON text, its value, its datatype): added to a valid row, or as a tensor; all refused
EXTRA: list[tuple[str, str, str]] = [
    (f'"{MARKER}"', "1", "INT64"),
    (f'"{MARKER * 10_000}"', "1", "INT64"),
    ('"again"', '"yes"', "BYTES"),
    ('"weight"', "1.5", "FP64"),
    ('"weight"', ROW["weight"], "FP64"),
    ('"weigh\\u0074"', "1.5", "FP64"),
    ('"\\u0077\\u0065\\u0069\\u0067\\u0068\\u0074"', "1.5", "FP64"),
    ('"kind"', '"letter"', "BYTES"),
    ('"weight "', "1", "FP64"),
    ('" weight"', "1", "FP64"),
    ('"Weight"', "1", "FP64"),
    ('"weight\\u0000"', "1", "FP64"),
    ('"weight\\ud800"', "1", "FP64"),
    ('"w\u0435ight"', "1", "FP64"),
    ('""', "1", "FP64"),
    ('"__proto__"', "{}", "BYTES"),
    ('"__class__"', '"x"', "BYTES"),
    ('"self"', "1", "FP64"),
    ('"\\u0000"', "1", "FP64"),
    ('"id"', f'"{MARKER}"', "BYTES"),
    ('"model_version"', f'"{MARKER}"', "BYTES"),
    ('"prediction"', '"yes"', "BYTES"),
]

# (name, whole body; `@` stands for a valid row, `#` for the valid tensors in a list's brackets)
PREDICT: list[tuple[str, str]] = [
    ("no object", "null"),
    ("a number", "0"),
    ("a boolean", "true"),
    ("a text", f'"{MARKER}"'),
    ("a list", "[]"),
    ("rows without a key", "[@]"),
    ("a row alone", "@"),
    ("an empty object", "{}"),
    ("instances are an object", '{"instances": {}}'),
    ("instances are a row", '{"instances": @}'),
    ("instances are null", '{"instances": null}'),
    ("instances are a text", f'{{"instances": "{MARKER}"}}'),
    ("instances are a number", '{"instances": 1}'),
    ("no instance", '{"instances": []}'),
    ("an instance is null", '{"instances": [null]}'),
    ("an instance is a list", '{"instances": [[]]}'),
    ("an instance is a list of values", '{"instances": [[12.5, 3, true, "box", "Oak", "2024-04-01T10:30:00"]]}'),
    ("an instance is a number", '{"instances": [1]}'),
    ("an instance is a text", f'{{"instances": ["{MARKER}"]}}'),
    ("an instance is empty", '{"instances": [{}]}'),
    ("a second instance is null", '{"instances": [@, null]}'),
    ("a second instance is empty", '{"instances": [@, {}]}'),
    ("a last instance is a text", f'{{"instances": [@, @, @, "{MARKER}"]}}'),
    ("rows in a list of lists", '{"instances": [[@]]}'),
    ("instances twice", '{"instances": [@], "instances": [@]}'),
    ("instances twice, the first wrong", '{"instances": null, "instances": [@]}'),
    ("instances twice, the second escaped", '{"instances": [@], "inst\\u0061nces": [@]}'),
    ("an unknown key", f'{{"instances": [@], "{MARKER}": 1}}'),
    ("parameters", '{"instances": [@], "parameters": {}}'),
    ("a signature", '{"instances": [@], "signature_name": "serving_default"}'),
    ("another case", '{"Instances": [@]}'),
    ("another key", '{"rows": [@]}'),
    ("the other protocol", '{"inputs": [#]}'),
    ("columns for rows", '{"instances": {"weight": [12.5], "visits": [3]}}'),
    ("mlflow's split", '{"dataframe_split": {"columns": ["weight"], "data": [[12.5]]}}'),
    ("a list of bodies", '[{"instances": [@]}]'),
    ("a body in a text", '"{\\"instances\\": []}"'),
    ("10,001 rows", '{"instances": [' + ",".join(["@"] * 10_001) + "]}"),
    ("10,001 empty rows", '{"instances": [' + ",".join(["{}"] * 10_001) + "]}"),
    ("a million nulls", '{"instances": [' + ",".join(["null"] * 700_000) + "]}"),
]

INFER: list[tuple[str, str]] = [
    ("no object", "null"),
    ("a number", "0"),
    ("a text", f'"{MARKER}"'),
    ("a list", "[]"),
    ("tensors without a key", "[#]"),
    ("an empty object", "{}"),
    ("inputs are an object", '{"inputs": {}}'),
    ("inputs are null", '{"inputs": null}'),
    ("inputs are a text", f'{{"inputs": "{MARKER}"}}'),
    ("no input", '{"inputs": []}'),
    ("an input is null", '{"inputs": [null]}'),
    ("an input is a list", '{"inputs": [[]]}'),
    ("an input is a text", f'{{"inputs": ["{MARKER}"]}}'),
    ("an input is empty", '{"inputs": [{}]}'),
    ("a further input is null", '{"inputs": [#, null]}'),
    ("every input twice", '{"inputs": [#, #]}'),
    ("inputs twice", '{"inputs": [#], "inputs": [#]}'),
    ("inputs twice, the second escaped", '{"inputs": [#], "input\\u0073": [#]}'),
    ("an unknown key", f'{{"inputs": [#], "{MARKER}": 1}}'),
    ("another case", '{"Inputs": [#]}'),
    ("the other protocol", '{"instances": [@]}'),
    ("both protocols", '{"inputs": [#], "instances": [@]}'),
    ("an id that is a number", '{"inputs": [#], "id": 5}'),
    ("an id that is an object", f'{{"inputs": [#], "id": {{"{MARKER}": 1}}}}'),
    ("an id of half a character", '{"inputs": [#], "id": "\\ud800"}'),
    ("parameters are a list", '{"inputs": [#], "parameters": []}'),
    ("parameters are a text", f'{{"inputs": [#], "parameters": "{MARKER}"}}'),
    ("outputs are an object", '{"inputs": [#], "outputs": {}}'),
    ("an output is a number", '{"inputs": [#], "outputs": [1]}'),
    ("an output without a name", '{"inputs": [#], "outputs": [{}]}'),
    ("an unknown output", f'{{"inputs": [#], "outputs": [{{"name": "{MARKER}"}}]}}'),
    ("tensors in raw form", '{"inputs": [#], "raw_input_contents": ["AAAA"]}'),
    ("100,000 empty inputs", '{"inputs": [' + ",".join(["{}"] * 100_000) + "]}"),
]

# (key of the tensor `weight`, its value as JSON text or None for no such key, statuses)
TENSORS: list[tuple[str, str | None, set[int]]] = [
    *[("shape", text, BAD) for text in "[0] [-1] [2] [1,2] [2,1] [0,1] [1,0] [1,1,1] [] [[1]] [[]] [null]".split()],
    *[("shape", text, BAD) for text in '1 -1 null true {} "1" "[1]" ["1"] [true] [1.5] [1e400] [NaN] [-1,-1]'.split()],
    *[
        ("shape", text, BAD)
        for text in "[9223372036854775807] [9223372036854775808] [4294967296,4294967296] [1e18]".split()
    ],
    *[("shape", text, BAD) for text in ("[" + "9" * 5000 + "]", "[" + "1," * 100_000 + "1]", "[-9223372036854775809]")],
    *[("shape", text, EITHER) for text in "[1.0] [1,1]".split()],
    ("shape", None, BAD),
    *[("datatype", f'"{text}"', BAD) for text in f"INT64 BOOL BYTES fp64 STRING FP128 FP64\\u0000 {MARKER}".split()],
    *[("datatype", text, BAD) for text in 'null 1 "" [] ["FP64"] {} true "FP64 " " FP64'.split()],
    ("datatype", None, BAD),
    *[
        ("data", text, BAD)
        for text in "null 12.5 {} [] [[]] [[12.5]] [12.5,12.5] [null] [[12.5,1]] [12.5,] true".split()
    ],
    *[
        ("data", text, BAD)
        for text in ('"AAAAAAAAKUA="', f'"{MARKER}"', f'["{MARKER}"]', f'[{{"{MARKER}": 1}}]', "[[[[12.5]]]]")
    ],
    ("data", "[" + ",".join(["1"] * 10_001) + "]", BAD),
    ("data", None, BAD),
    *[
        ("name", text, BAD)
        for text in f'null 1 "" [] {{}} true "{MARKER}" "Weight" "visits" "weight\\u0000" "\\ud800"'.split()
    ],
    ("name", None, BAD),
    *[("parameters", text, BAD) for text in f'[] 1 true "{MARKER}"'.split()],
    *[
        ("parameters", text, BAD)
        for text in ('{"binary_data_size": 8}', '{"binary_data_size": "8"}', '{"binary_data_size": -1}')
    ],
    *[("parameters", text, OK) for text in ("{}", '{"binary_data": false}')],
    (MARKER, "1", BAD),
    ("contents", '{"fp64_contents": [12.5]}', BAD),
]
BINARY_SENTENCE = "binary_data=False"


def _inside(body: bytes, value: bytes) -> bytes:
    """Return a valid body with `value` for the text Oak."""
    assert body.count(b'"Oak"') == 1
    return body.replace(b'"Oak"', value)


# (name, what is made of a valid body of either protocol, statuses)
BODIES: list[tuple[str, Callable[[bytes], bytes], set[int]]] = [
    ("nothing", lambda body: b"", BAD),
    ("a space", lambda body: b" ", BAD),
    ("whitespace", lambda body: b" \t\r\n" * 1000, BAD),
    ("half of it", lambda body: body[: len(body) // 2], BAD),
    ("all but the last byte", lambda body: body[:-1], BAD),
    ("the last byte alone", lambda body: body[-1:], BAD),
    ("a bracket too many", lambda body: body + b"}", BAD),
    ("a trailing comma", lambda body: body[:-1] + b",}", BAD),
    ("a trailing text", lambda body: body + MARKER.encode(), BAD),
    ("a comment", lambda body: b"// " + MARKER.encode() + b"\n" + body, BAD),
    ("a comment inside", lambda body: body[:-1] + b"/* " + MARKER.encode() + b" */}", BAD),
    ("two documents", lambda body: body + body, BAD),
    ("two lines", lambda body: body + b"\n" + body, BAD),
    ("a sequence", lambda body: b"\x1e" + body + b"\n", BAD),
    ("a guard", lambda body: b")]}',\n" + body, BAD),
    ("a BOM", lambda body: b"\xef\xbb\xbf" + body, BAD),
    ("UTF-16 with a BOM", lambda body: body.decode().encode("utf-16"), BAD),
    ("UTF-16, little end first", lambda body: body.decode().encode("utf-16-le"), BAD),
    ("UTF-16, big end first", lambda body: body.decode().encode("utf-16-be"), BAD),
    ("UTF-32", lambda body: body.decode().encode("utf-32"), BAD),
    ("EBCDIC", lambda body: body.decode().encode("cp500"), BAD),
    ("Latin-1", lambda body: _inside(body, b'"M\xfcnchen"'), BAD),
    ("a lone continuation", lambda body: _inside(body, b'"O\x80k"'), BAD),
    ("half a character", lambda body: _inside(body, b'"Oa\xe2\x82"'), BAD),
    ("an overlong slash", lambda body: _inside(body, b'"O\xc0\xafk"'), BAD),
    ("an overlong NUL", lambda body: _inside(body, b'"O\xc0\x80k"'), BAD),
    ("a raw surrogate", lambda body: _inside(body, b'"O\xed\xa0\x80k"'), BAD),
    ("a raw pair of surrogates", lambda body: _inside(body, b'"\xed\xa0\xbd\xed\xb8\x80"'), BAD),
    ("beyond Unicode", lambda body: _inside(body, b'"O\xf4\x90\x80\x80k"'), BAD),
    ("bytes that are never UTF-8", lambda body: _inside(body, b'"O\xfe\xffk"'), BAD),
    ("a wrong byte in a key", lambda body: body.replace(b"weight", b"weigh\xff"), BAD),
    ("a wrong byte outside", lambda body: body + b"\xff", BAD),
    ("a NUL before", lambda body: b"\0" + body, BAD),
    ("a NUL behind", lambda body: body + b"\0", BAD),
    ("NULs alone", lambda body: b"\0" * 1000, BAD),
    ("a vertical tab", lambda body: b"\x0b" + body, BAD),
    ("a no-break space", lambda body: b"\xc2\xa0" + body, BAD),
    ("single quotes", lambda body: body.replace(b'"', b"'"), BAD),
    ("no quotes", lambda body: body.replace(b'"', b""), BAD),
    ("typographic quotes", lambda body: body.replace(b'"', "\u201d".encode()), BAD),
    ("equals signs", lambda body: body.replace(b":", b"=>"), BAD),
    ("no commas", lambda body: body.replace(b",", b" "), BAD),
    ("a form", lambda body: b"instances=" + MARKER.encode(), BAD),
    (
        "XML",
        lambda body: f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///{MARKER}">]><a>&b;</a>'.encode(),
        BAD,
    ),
    ("YAML", lambda body: f"instances: [!!python/object/apply:os.system [{MARKER}]]".encode(), BAD),
    (
        "a pickle",
        lambda body: b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        BAD,
    ),
    ("gzip that is not announced", gzip.compress, BAD),
    ("100,000 lists", lambda body: b"[" * DEEP, BAD),
    ("100,000 lists, closed", lambda body: b"[" * DEEP + b"]" * DEEP, BAD),
    ("100,000 objects", lambda body: b'{"a":' * DEEP, BAD),
    ("100,000 objects, closed", lambda body: b'{"a":' * DEEP + b"1" + b"}" * DEEP, BAD),
    ("100,000 lists inside", lambda body: _inside(body, b"[" * DEEP + b"]" * DEEP), BAD),
    ("100,000 objects inside", lambda body: _inside(body, b'{"a":' * DEEP + b"1" + b"}" * DEEP), BAD),
    ("900 lists inside", lambda body: _inside(body, b"[" * 900 + b"]" * 900), BAD),
    ("100,000 keys", lambda body: body[:-1] + b"".join(b',"%d":1' % k for k in range(DEEP)) + b"}", BAD),
    ("a key of a megabyte", lambda body: body[:-1] + b',"' + b"k" * 1_000_000 + b'":1}', BAD),
    ("a text that does not end", lambda body: body[:-1] + b',"' + b"k" * 1_000_000, BAD),
    ("backslashes that do not end", lambda body: body[:-1] + b',"' + b"\\" * 1_000_000, BAD),
    ("an exponent of a megabyte", lambda body: _inside(body, b"1e" + b"9" * 1_000_000), BAD),
    ("digits of a megabyte", lambda body: _inside(body, b"9" * 1_000_000), BAD),
    ("commas alone", lambda body: b"," * 1_000_000, BAD),
    ("quotes alone", lambda body: b'"' * 1_000_000, BAD),
    ("random bytes", lambda body: bytes(range(256)) * 100, BAD),
    ("spaces around", lambda body: b" " * 500_000 + body + b"\r\n\t " * 1000, OK),
    ("escaped keys", lambda body: body.replace(b"weight", b"w\\u0065ight"), OK),
    ("indented", lambda body: json.dumps(json.loads(body), indent=8).encode(), OK),
    ("keys in another order", lambda body: json.dumps(json.loads(body), sort_keys=True).encode(), OK),
]

# (headers, statuses): with a valid body on either route
HEADERS: list[tuple[dict[str, str], set[int]]] = [
    *[
        ({"Content-Type": kind}, {200})
        for kind in ("application/json", "APPLICATION/JSON", "application/json;charset=utf-8")
    ],
    *[
        ({"Content-Type": f"application/json; {word}"}, {200})
        for word in ("charset=UTF-8", 'charset="utf-8"', "charset=utf8")
    ],
    *[
        ({"Content-Type": kind}, {415})
        for kind in f"""text/plain text/json text/html application/xml application/x-www-form-urlencoded
        multipart/form-data;boundary=x application/octet-stream application/jsonp application/json-seq
        application/vnd.api+json application/x-ndjson json */* application/json,text/plain application
        application/ /json {MARKER}/{MARKER} application/{MARKER} application/msgpack image/png""".split()
    ],
    *[
        ({"Content-Type": f"application/json; charset={name}"}, {415})
        for name in f"latin-1 iso-8859-1 utf-16 utf-32 utf-7 ascii windows-1252 {MARKER}".split()
    ],
    ({"Content-Type": ""}, {200, 415}),
    ({"Content-Type": "application/json;"}, {200, 415}),
    ({"Content-Type": f"application/json; profile={MARKER}"}, {200, 415}),
    ({"Content-Type": "application/json; charset="}, {200, 415}),
    *[
        ({"Content-Encoding": name}, {415})
        for name in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", MARKER)
    ],
    ({"Content-Encoding": "identity"}, {200, 415}),
    ({"Expect": "100-continue"}, {200}),
    ({"Expect": MARKER}, {200, 400, 417}),
    ({"Accept": "image/png"}, {200, 406}),
    ({"Accept": MARKER}, {200, 406}),
    ({"Accept-Encoding": f"{MARKER}, gzip;q=0"}, {200}),
    ({"Range": f"bytes={MARKER}"}, {200}),
    ({"If-Match": MARKER}, {200, 412}),
    ({"Cookie": f"session={MARKER}"}, {200}),
    ({"User-Agent": MARKER}, {200}),
    ({"User-Agent": "() { :;}; echo " + MARKER}, {200}),
    ({"Referer": f"https://{MARKER}/"}, {200}),
    ({"X-Request-ID": f"<{MARKER}>" * 1000}, {200}),
    ({"X-Request-ID": "\xe9" + MARKER}, {200}),
    ({"X-Forwarded-For": MARKER}, {200}),
    ({"X-Forwarded-Host": f"{MARKER}.example.org"}, {200, 401}),
    ({"X-HTTP-Method-Override": "DELETE"}, {200}),
    ({"Traceparent": MARKER}, {200}),
    ({"Authorization": MARKER}, {200, 401}),
    ({"Authorization": f"Bearer {MARKER}"}, {200, 401}),
    ({"Authorization": "Bearer"}, {200, 401}),
    ({"Authorization": "Basic !!!!"}, {200, 401}),
    ({"Authorization": "Basic /////w=="}, {200, 401}),
    ({"Authorization": "Basic " + "A" * 10_000}, {200, 401}),
    ({"Origin": f"https://{MARKER}.example.org"}, {403}),
    ({"Origin": "null"}, {403}),
    ({"Origin": MARKER}, {403}),
    ({"Origin": "http://["}, {403}),
    ({"Origin": "http://127.0.0.1:99999999"}, {403}),
    ({"Host": f"{MARKER}.example.org"}, {401}),
    ({"Host": f"127.0.0.1.{MARKER}.example.org"}, {401}),
    ({"Host": f"localhost.{MARKER}.example.org:8000"}, {401}),
    ({"Host": "192.0.2.1"}, {401}),
    ({"Host": "[2001:db8::1]:8000"}, {200, 400, 401}),
    ({"Host": "["}, {200, 400, 401}),
    ({"Host": "]" * 1000}, {200, 400, 401}),
    ({"Host": "localhost:abc"}, {200, 400, 401}),
    ({"Host": "localhost:99999999"}, {200, 400, 401}),
    ({"Host": f"user@{MARKER}.example.org"}, {400, 401}),
    ({"Host": f"{MARKER}.example.org@localhost"}, {200, 400, 401}),
    ({"Host": "127.1.2.3"}, {200}),
    ({"Host": "localhost"}, {200}),
    ({"Host": "[::1]:8000"}, {200}),
    ({"Host": ""}, {200, 400, 401}),
]

# (method, path, statuses): no body, nothing behind it
PATHS: list[tuple[str, str, set[int]]] = [
    *[(method, "/predict", {405}) for method in "GET PUT PATCH DELETE HEAD OPTIONS TRACE".split()],
    *[(method, "/feedback", {405}) for method in "GET PUT PATCH DELETE".split()],
    *[("GET", f"/v2/models/flight_delays{path}", {405}) for path in ("/infer",)],
    *[
        ("POST", path, {405})
        for path in "/example /v2/health/live /v2/health/ready /v2 /v2/models /metrics /model /".split()
    ],
    ("PROPFIND", "/predict", {400, 405, 501}),
    ("CONNECT", "/predict", {400, 404, 405, 501}),
    *[
        ("GET", path, {404})
        for path in f"""/{MARKER} /predict/{MARKER} /v1/models /v2/models/{MARKER} /v2/models/{MARKER}/ready
        /v2/models/{MARKER}/versions/1 /v2/models/flight_delays/{MARKER}
        /v2/models/flight_delays/versions/{MARKER} /v2/models/flight_delays/versions/{MARKER}/ready /v2/{MARKER}
        /v2/health/{MARKER} /favicon.ico/{MARKER} /.env /.git/config /models/champion.json /logs
        /static/../../etc/passwd /..%2f..%2fetc%2fpasswd /%2e%2e/%2e%2e/etc/passwd /%2f /%00
        /%0d%0aX-Injected:%20{MARKER} /%ff%fe /%c0%ae%c0%ae/ /%F0%9F%98%80 /%zz /% /%1 /a%20b
        //{MARKER}.example.org/ //{MARKER} /v2/models/%00 /v2/models/%2e%2e /v2/models/flight_delays%00
        /v2//models /v2/models/flight_delays/versions/../../../x /;{MARKER} /predict;{MARKER} /predict%00
        /PREDICT /Example /v2/models/{{name}} /v2/models/* /{"a/" * 2000} /__import__ /wp-login.php""".split()
    ],
    ("GET", "/" + "a" * 60_000, {404, 400, 414, 431}),
    ("GET", "/example?" + "a=b&" * 15_000, {200, 400, 414, 431}),
    ("GET", f"/example?{MARKER}={MARKER}&%zz=%", {200}),
    ("GET", f"/example#{MARKER}", {200, 400, 404}),
    ("GET", f"http://{MARKER}.example.org/example", {200, 400, 401, 404}),
    ("GET", f"example/{MARKER}", {400, 404}),
    ("GET", "*", {400, 404, 405}),
    ("OPTIONS", "*", {200, 400, 404, 405}),
    ("GET", "/example\\..\\x", {400, 404}),
    ("GET", "/\xe9", {400, 404}),
    *[("GET", path, {404, 307}) for path in ("/example/", "/v2/health/live/", "/v2/")],
]

VALID = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CLOSED = 0  # the connection may also be closed without a word

# (name, bytes on the wire, statuses): framing; `@` stands for a valid body, `#` for its length
WIRE: list[tuple[str, bytes, set[int]]] = [
    ("two lengths that differ", VALID + b"Content-Length: #\r\nContent-Length: 5\r\n\r\n@", {400, CLOSED}),
    ("two lengths that agree", VALID + b"Content-Length: #\r\nContent-Length: #\r\n\r\n@", {200, 400, CLOSED}),
    ("a list of lengths", VALID + b"Content-Length: #, #\r\n\r\n@", {200, 400, CLOSED}),
    ("a negative length", VALID + b"Content-Length: -1\r\n\r\n@", {400, CLOSED}),
    ("a length with a sign", VALID + b"Content-Length: +#\r\n\r\n@", {400, CLOSED}),
    ("a length in hexadecimal", VALID + b"Content-Length: 0x10\r\n\r\n@", {400, CLOSED}),
    ("a length that is no number", VALID + b"Content-Length: zq9marker\r\n\r\n@", {400, CLOSED}),
    ("a length of 30 digits", VALID + b"Content-Length: 999999999999999999999999999999\r\n\r\n@", {400, 413, CLOSED}),
    ("a length beyond the limit", VALID + b"Content-Length: 99999999999\r\n\r\n@", {413}),
    ("no length, no body", VALID + b"\r\n", {400, 411}),
    ("a length and chunks", VALID + b"Content-Length: #\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400, CLOSED}),
    ("chunks and a length", VALID + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", {400, CLOSED}),
    ("an unknown coding", VALID + b"Transfer-Encoding: zq9marker\r\n\r\n@", {400, 501, CLOSED}),
    ("gzip, then chunks", VALID + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {400, 415, 501, CLOSED}),
    ("chunks, then gzip", VALID + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", {400, 415, 501, CLOSED}),
    ("chunks twice", VALID + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", {400, 501, CLOSED}),
    ("a coding with a vertical tab", VALID + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", {400, 501, CLOSED}),
    ("an empty chunked body", VALID + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    (
        "a chunk size that is none",
        VALID + b"Transfer-Encoding: chunked\r\n\r\nzq9marker\r\n@\r\n0\r\n\r\n",
        {400, CLOSED},
    ),
    ("a negative chunk size", VALID + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n@\r\n0\r\n\r\n", {400, CLOSED}),
    (
        "a chunk size of 30 digits",
        VALID + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n@",
        {400, 413, CLOSED},
    ),
    ("a chunk that is longer", VALID + b"Transfer-Encoding: chunked\r\n\r\n2\r\n@\r\n0\r\n\r\n", {400, CLOSED}),
    (
        "a long chunk extension",
        VALID + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 60_000 + b"\r\n{\r\n0\r\n\r\n",
        {400, 413, CLOSED},
    ),
    (
        "a trailer",
        VALID + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX-Trailer: zq9marker\r\n\r\n",
        {400, CLOSED},
    ),
    (
        "a method in lower case",
        b"post /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        {400, 405, 501, CLOSED},
    ),
    ("an unknown method", b"ZQ9MARKER /predict HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405, 501, CLOSED}),
    ("a method with a space", b"PO ST /predict HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405, 501, CLOSED}),
    ("HTTP/1.0", b"POST /predict HTTP/1.0\r\nContent-Length: #\r\n\r\n@", {200}),
    ("HTTP/0.9", b"GET /example\r\n\r\n", {200, 400, CLOSED}),
    ("HTTP/1.2", b"GET /example HTTP/1.2\r\nHost: localhost\r\n\r\n", {200, 400, 505, CLOSED}),
    ("HTTP/9.9", b"GET /example HTTP/9.9\r\nHost: localhost\r\n\r\n", {400, 505, CLOSED}),
    ("no version", b"GET /example HTTP/\r\nHost: localhost\r\n\r\n", {400, 505, CLOSED}),
    ("another protocol", b"GET /example ZQ9/1.1\r\nHost: localhost\r\n\r\n", {400, 505, CLOSED}),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505, CLOSED}),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)) + b"\r\n\r\n", {400, CLOSED}),
    ("binary", bytes(range(256)) * 10 + b"\r\n\r\n", {400, CLOSED}),
    ("NULs", b"\0" * 1000 + b"\r\n\r\n", {400, CLOSED}),
    ("a blank line first", b"\r\n\r\nGET /example HTTP/1.1\r\nHost: localhost\r\n\r\n", {200, 400, CLOSED}),
    ("bare newlines", b"GET /example HTTP/1.1\nHost: localhost\n\n", {200, 400, CLOSED}),
    ("no host", b"GET /example HTTP/1.1\r\n\r\n", {200, 400, 401}),
    (
        "two hosts",
        b"GET /example HTTP/1.1\r\nHost: localhost\r\nHost: zq9marker.example.org\r\n\r\n",
        {400, 401, CLOSED},
    ),
    (
        "two hosts, the other way",
        b"GET /example HTTP/1.1\r\nHost: zq9marker.example.org\r\nHost: localhost\r\n\r\n",
        {400, 401, CLOSED},
    ),
    ("a header without a colon", b"GET /example HTTP/1.1\r\nHost: localhost\r\nzq9marker\r\n\r\n", {400, CLOSED}),
    ("a header name with a space", b"GET /example HTTP/1.1\r\nHost: localhost\r\nzq9 marker: 1\r\n\r\n", {400, CLOSED}),
    ("a space before the colon", b"GET /example HTTP/1.1\r\nHost: localhost\r\nzq9marker : 1\r\n\r\n", {400, CLOSED}),
    ("an empty header name", b"GET /example HTTP/1.1\r\nHost: localhost\r\n: zq9marker\r\n\r\n", {400, CLOSED}),
    (
        "a folded header",
        b"GET /example HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n zq9marker\r\n\r\n",
        {200, 400, CLOSED},
    ),
    ("a NUL in a header", b"GET /example HTTP/1.1\r\nHost: localhost\r\nX-A: zq9\0marker\r\n\r\n", {400, CLOSED}),
    ("a header of bytes", b"GET /example HTTP/1.1\r\nHost: localhost\r\nX-A: \xff\xfe\x80\r\n\r\n", {200, 400, CLOSED}),
    (
        "a key of bytes",
        b"GET /example HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        {200, 400, 401},
    ),
    ("an origin of bytes", b"GET /example HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\xfe\r\n\r\n", {400, 403}),
    ("a content type of bytes", VALID[:-18] + b"\xff\xfe\r\nContent-Length: #\r\n\r\n@", {400, 415}),
    ("a path of bytes", b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 404, CLOSED}),
    (
        "5,000 headers",
        b"GET /example HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: zq9marker\r\n" * 5000 + b"\r\n",
        {200, 400, 431, CLOSED},
    ),
    (
        "a header of 100 kB",
        b"GET /example HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
        {200, 400, 431, CLOSED},
    ),
    (
        "a websocket",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        {200, 400, 403, 404, 426},
    ),
    (
        "an upgrade to HTTP/2",
        b"GET /example HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\n\r\n",
        {200, 400},
    ),
    (
        "an upgrade to nothing",
        b"GET /example HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: zq9marker\r\n\r\n",
        {200, 400},
    ),
    (
        "binary tensors",
        b"POST /v2/models/flight_delays/infer HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: 10\r\n"
        b"Content-Length: #\r\n\r\n@",
        {400},
    ),
    (
        "binary tensors by their type",
        b"POST /v2/models/flight_delays/infer HTTP/1.1\r\nHost: localhost\r\n"
        b"Inference-Header-Content-Length: zq9marker\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Length: #\r\n\r\n@",
        {400, 415},
    ),
]
