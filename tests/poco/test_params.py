"""The parameters of a deal are read as the Java workers of the same pool read them."""

import pytest
from hypothesis import given
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
        ("a\tb\nc d", ("a\tb\nc", "d")),
        ("  a   b  ", ("a", "b")),
        ("", ()),
        (" \t ", ()),
        ("''x", ("x",)),
    ],
)
def test_arguments_are_split_by_spaces_and_quotes_alone(args: str, expected: tuple[str, ...]):
    assert tokenize(args) == expected
