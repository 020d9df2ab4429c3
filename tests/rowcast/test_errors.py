import pytest

from rowcast import errors


@pytest.mark.parametrize("name", ["ConfigError", "NotRunningError", "RequestError", "DeliveryError", "JobCancelled"])
def test_one_base_catches_everything_and_the_tree_names_it(name):
    assert issubclass(getattr(errors, name), errors.RowcastError)
    assert f"── {name} " in errors.__doc__
