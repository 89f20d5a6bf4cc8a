"""Random people: what they wear, and what they do not."""

from __future__ import annotations

import numpy as np

from svf_edge.data.person import Person, random_person


def people(count: int) -> list[Person]:
    return [random_person(np.random.default_rng(seed)) for seed in range(count)]


def test_some_go_without_a_shirt_and_then_mostly_without_shoes() -> None:
    drawn = people(600)
    bare = [person for person in drawn if np.array_equal(person.shirt, person.skin)]
    assert 0.08 < len(bare) / len(drawn) < 0.2
    assert all(person.sleeve == 0 and person.open_jacket > 1 for person in bare)
    barefoot = [person for person in drawn if np.array_equal(person.shoes, person.skin)]
    assert 0.1 < len(barefoot) / len(drawn) < 0.25
    assert sum(np.array_equal(person.shoes, person.skin) for person in bare) > 0.4 * len(bare)
    assert all(not np.array_equal(person.legwear, person.skin) for person in drawn)


def test_colours_are_colours() -> None:
    for person in people(100):
        for colour in (person.skin, person.hair, person.shirt, person.legwear, person.shoes):
            assert colour.shape == (3,) and colour.dtype == np.float32 and (colour >= 0).all() and (colour < 1.2).all()
