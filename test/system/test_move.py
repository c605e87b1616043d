"""REBALANCE /key: one key to where it belongs."""
import hashlib
import os
import time

import pytest

from mkvtest.cluster import Master, wait_until
from mkvtest.faults import FaultyVolume, answer, close_after, damaged  # noqa: F401
