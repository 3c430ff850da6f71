"""Values from outside are parsed once, whatever they are, or refused with a sentence."""

import pytest
from pydantic import TypeAdapter, ValidationError

from tallystick.poco import tags
from tallystick.poco.values import Address, Hash, Tag, TaskId

HUB = "0x3eca1B216A7DF1C7689aEb259fFB83ADFB894E7f"


def test_an_address_is_lower_case_hex_and_can_be_shown_with_its_checksum():
    hub = Address(HUB)
    assert str(hub) == HUB.lower()
    assert hub.checksummed == HUB
    assert Address(bytes(hub)) == Address(HUB.removeprefix("0x")) == hub


@pytest.mark.parametrize(
    "bad", [b"", bytes(19), "0x12", "0x" + "g" * 40, "ab " * 20, 5, None, []]
)
def test_anything_else_is_refused(bad: object):
    with pytest.raises(ValueError, match=r"."):
        Address(bad)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        TypeAdapter(Address).validate_python(bad)


def test_pydantic_reads_and_writes_hex():
    adapter = TypeAdapter(TaskId)
    task = TaskId(b"\xaa" * 32)
    assert adapter.validate_json(f'"{task}"') == task
    assert adapter.dump_python(task, mode="json") == str(task)
    assert adapter.json_schema() == {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}


def test_tags_are_bits_with_names():
    tdx = tags.tag_of(tags.TEE, tags.TDX)
    assert str(tdx).endswith("09")
    assert tags.names(tags.union(tdx, tags.tag_of(tags.GPU))) == ("tee", "tdx", "gpu")
    assert tags.names(Tag(Hash((1 << 20).to_bytes(32, "big")))) == ("bit 20",)
    assert tags.offers(tdx, tags.tag_of(tags.TDX))
    assert not tags.offers(tdx, tags.tag_of(tags.SCONE))
    assert tags.needs_enclave(tdx)
    assert not tags.needs_enclave(tags.tag_of(tags.TDX))


def test_what_a_machine_lacks_of_a_tag():
    wanted, offered = tags.tag_of(tags.TEE, tags.GPU), tags.tag_of(tags.GPU, tags.TDX)
    assert tags.names(tags.without(wanted, offered)) == ("tee",)
