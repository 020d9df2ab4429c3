"""What is generated is kept as it was generated last: `make schema`, and look at the difference before you commit."""

import pytest

from service.schema.files import EXAMPLES, generated
from tests.conftest import ROOT


@pytest.mark.parametrize("name", generated())
def test_a_generated_file_is_up_to_date(name: str) -> None:
    assert (ROOT / name).is_file(), "run `make schema`"
    assert (ROOT / name).read_bytes() == generated()[name], "run `make schema`"


def test_no_example_is_of_a_message_that_is_no_more() -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / EXAMPLES).glob("*/*.json")}
    assert there == {name for name in generated() if name.startswith(EXAMPLES)}
