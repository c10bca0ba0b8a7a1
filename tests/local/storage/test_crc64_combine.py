import pytest
from fastcrc import crc64

from oss_wsgi.local.storage.incoming import combine


@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (5, 0), (1, 1), (7, 1000), (1000, 100_003)])
def test_two_checksums_make_that_of_both_contents_together(sizes):
    first, second = (bytes(number * 7 % 251 for number in range(size)) for size in sizes)
    assert combine(crc64.xz(first), crc64.xz(second), len(second)) == crc64.xz(first + second)
