"""The parameters of a deal are read as the Java workers of the same pool read them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.poco.params import DealParams, encode_params, parse_params, tokenize


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "plain words",
        "{'iexec_args':'a'}",
        '"text"',
        "12",
        "true",
        "[]",
        '{"iexec_args":"a","iexec_unknown":1}',
        '{"iexec_unknown":null}',
        '{"iexec_input_files":"u"}',
        '{"iexec_input_files":{}}',
        '{"iexec_args":["a"]}',
        '{"iexec_args":{}}',
        '{"iexec_args":NaN}',
        '{"iexec_args":"a"',
        '{"iexec_args":"a",}',
        '{"iexec_args":"a\tb"}',
        '{"iexec_args":{},"iexec_args":"a"}',
        '{"iexec_result_encryption":"yes"}',
        '{"iexec_result_encryption":1.0}',
        '{"iexec_result_encryption":[true]}',
        '{"iexec_secrets":["a"]}',
        '{"iexec_secrets":{"1":{}}}',
        '{"iexec_args":' + "[" * 100_000,
        '{"iexec_args":"' + '\\"' * 100_000,
        '{"iexec_input_files":[],"iexec_args":' + "[" * 100_000,
        '{"iexec_secrets":{},"iexec_args":' + '{"a":' * 100_000,
        '{"iexec_input_files":[[]]}',
        '{"iexec_input_files":[[]],"iexec_input_files":[]}',
        '{"iexec_input_files":["u",{}]}',
        '{"iexec_input_files":5}',
        '{"iexec_secrets":"a"}',
        '{"iexec_secrets":{"1":["a"]}}',
        '{"iexec_result_encryption":"  "}',
        '{"iexec_result_encryption":"TrUe"}',
        '{"iexec_result_encryption":"0"}',
        '{"iexec_result_encryption":1e0}',
        '{"iexec_result_encryption":{}}',
        '{"iexec_args":-Infinity}',
        '{"IEXEC_ARGS":"a"}',
        'X{"iexec_args":"a"}',
        '\v{"iexec_args":"a"}',
        '\ufeff{"iexec_args":"a"}',
    ],
)
def test_what_is_no_proper_object_is_the_arguments(text: str):
    assert parse_params(text) == DealParams(args=text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", DealParams()),
        ("null", DealParams()),
        ('{"iexec_args":"a b"}', DealParams(args="a b")),
        ('{"iexec_args":null}', DealParams()),
        ('{"iexec_args":12}', DealParams(args="12")),
        ('{"iexec_args":1.50}', DealParams(args="1.50")),
        ('{"iexec_args":true}', DealParams(args="true")),
        ('{"iexec_args":"a","iexec_args":"b"}', DealParams(args="b")),
        (' \n{"iexec_args":"a"} and {more', DealParams(args="a")),
        ('{"iexec_args":"\\ud83d\\ude00\\ud800"}', DealParams(args="\U0001f600?")),
        ('{"iexec_input_files":null}', DealParams()),
        ('{"iexec_input_files":[]}', DealParams()),
        ('{"iexec_input_files":["u",3]}', DealParams(input_files=("u", "3"))),
        ('{"iexec_result_encryption":true}', DealParams(result_encryption=True)),
        ('{"iexec_result_encryption":"true"}', DealParams(result_encryption=True)),
        ('{"iexec_result_encryption":1}', DealParams(result_encryption=True)),
        ('{"iexec_result_encryption":0}', DealParams()),
        ('{"iexec_result_encryption":"False"}', DealParams()),
        ('{"iexec_result_encryption":""}', DealParams()),
        ('{"iexec_result_encryption":null}', DealParams()),
        ('{"iexec_result_storage_provider":"ipfs"}', DealParams(storage_provider="ipfs")),
        ('{"iexec_result_storage_proxy":"http://p"}', DealParams(storage_proxy="http://p")),
        ('{"iexec_secrets":{"1":"one","2":2}}', DealParams(secrets={"1": "one", "2": "2"})),
        ('{"bulk_cid":"Qm"}', DealParams(bulk_cid="Qm")),
        ('{"iexec_args":false}', DealParams(args="false")),
        ('{"iexec_args":-0}', DealParams(args="-0")),
        ('{"iexec_args":1E+2}', DealParams(args="1E+2")),
        ('{"iexec_args":"[[[{{{\\"[[["}', DealParams(args='[[[{{{"[[[')),
        ('{"iexec_args":"a"}' + "[{" * 50_000, DealParams(args="a")),
        ('\t\r\n {"iexec_args":"a"}', DealParams(args="a")),
        ('{"iexec_input_files":["u",null,true]}', DealParams(input_files=("u", "", "true"))),
        ('{"iexec_secrets":null}', DealParams()),
        ('{"iexec_secrets":{"1":null}}', DealParams(secrets={"1": ""})),
        ('{"iexec_secrets":{"1":"a","1":"b"}}', DealParams(secrets={"1": "b"})),
        (
            '{"iexec_secrets":{"1":"a"},"iexec_input_files":["u"],"bulk_cid":"b"}',
            DealParams(secrets={"1": "a"}, input_files=("u",), bulk_cid="b"),
        ),
        (
            '{"iexec_input_files":["u"],"iexec_secrets":{"1":"a"},"iexec_args":"x"}',
            DealParams(secrets={"1": "a"}, input_files=("u",), args="x"),
        ),
        ('{"iexec_result_encryption":" TRUE "}', DealParams(result_encryption=True)),
        ('{"iexec_result_encryption":"True"}', DealParams(result_encryption=True)),
        ('{"iexec_result_encryption":-10}', DealParams(result_encryption=True)),
        ('{"iexec_result_encryption":-0}', DealParams()),
        ('{"iexec_result_encryption":false}', DealParams()),
        ('{"iexec_result_encryption":"FALSE"}', DealParams()),
        ('{"iexec_result_encryption":" false"}', DealParams()),
        ('{"iexec_result_encryption":"null"}', DealParams()),
    ],
)
def test_an_object_is_read_field_by_field(text: str, expected: DealParams):
    assert parse_params(text) == expected


words = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(
        DealParams,
        args=words,
        input_files=st.lists(words).map(tuple),
        storage_provider=st.none() | st.sampled_from(["ipfs", "dropbox"]),
        storage_proxy=st.none() | words.filter(bool),
        result_encryption=st.booleans(),
        secrets=st.dictionaries(words, words),
        bulk_cid=st.none() | words.filter(bool),
    )
)
def test_what_is_written_is_read_back(params: DealParams):
    assert parse_params(encode_params(params)) == params


def test_what_is_written_leaves_out_what_is_usual():
    assert encode_params(DealParams()) == "{}"
    assert encode_params(DealParams(storage_proxy="", bulk_cid="")) == "{}"
    full = DealParams(
        args="é",
        input_files=("u", "v"),
        storage_provider="ipfs",
        storage_proxy="http://p",
        result_encryption=True,
        secrets={"1": "a", "2": "b"},
        bulk_cid="Qm",
    )
    assert encode_params(full) == (
        '{"iexec_args":"é","iexec_input_files":["u","v"],'
        '"iexec_result_storage_provider":"ipfs","iexec_result_storage_proxy":"http://p",'
        '"iexec_result_encryption":true,"iexec_secrets":{"1":"a","2":"b"},"bulk_cid":"Qm"}'
    )


TEXTS = (
    "iexec_args",
    "iexec_result_storage_provider",
    "iexec_result_storage_proxy",
    "bulk_cid",
)
BLANK_OR_TRUTH = ("", "true", "True", "TRUE", "false", "False", "FALSE", "null")
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
    | st.sampled_from([*BLANK_OR_TRUTH, " true ", "[[[", '{"', " "])
)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
given_keys = st.sampled_from(
    [*TEXTS, "iexec_input_files", "iexec_secrets", "iexec_result_encryption"] * 3 + ["other"]
)


def fits(key: str, value: object) -> bool:
    """The rule in short."""
    if key in TEXTS:
        return not isinstance(value, list | dict)
    match key, value:
        case ("other", _):
            return False
        case (_, None):
            return True
        case ("iexec_input_files", list()):
            return not any(isinstance(each, list | dict) for each in value)
        case ("iexec_secrets", dict()):
            return not any(isinstance(each, list | dict) for each in value.values())
        case ("iexec_result_encryption", str()):
            return (value.strip() or value) in BLANK_OR_TRUTH
        case ("iexec_result_encryption", _):
            return isinstance(value, int)
    return False


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(given_keys, anything), max_size=4), st.booleans())
def test_one_thing_that_does_not_fit_makes_arguments_of_all(
    pairs: list[tuple[str, object]], ascii_only: bool
):
    told = (f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=ascii_only)}" for k, v in pairs)
    text = f"{{{', '.join(told)}}}"
    found = parse_params(text)
    assert (found == DealParams(args=text)) is not all(fits(*pair) for pair in pairs)
    assert parse_params(encode_params(found)).args == found.args


@given(st.text())
def test_reading_never_fails(text: str):
    assert isinstance(parse_params(text), DealParams)
    assert isinstance(parse_params('{"iexec_args":' + text), DealParams)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("--x='a b'c", ("--x=a bc",)),
        ("\"a'b\" 'c\"d'", ("a'b", 'c"d')),
        (r"a\ b", ("a\\", "b")),
        (r'"a\"b"', (r"a\"b",)),
        (r'"a\"b', ()),
        (r"'a\'b'", (r"a\'b",)),
        (r"\'a b", (r"\'a", "b")),
        (r'a\ "b c', ("a\\", '"b', "c")),
        (r'a\\"b c"', ()),
        (r'a\x"b c"', (r"a\xb c",)),
        (r'"a\\ " b', ("a\\\\ ", "b")),
        ("a '' b", ("a", "b")),
        ('{"a": "b c"}', ("{a:", "b c}")),
        ("unclosed 'abc", ()),
        (r"\''a b' c", (r"\'a b", "c")),
        ("aXb Xc", ("aXb", "Xc")),
        ("a\tb\nc d", ("a\tb\nc", "d")),
        ("  a   b  ", ("a", "b")),
        ("", ()),
        (" \t ", ()),
        ("''x", ("x",)),
    ],
)
def test_arguments_are_split_by_spaces_and_quotes_alone(args: str, expected: tuple[str, ...]):
    assert tokenize(args) == expected
