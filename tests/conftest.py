import pytest
import torch as th


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    th.set_num_threads(1)
