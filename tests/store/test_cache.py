"""What was read lately, up to a number of bytes."""

from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from aggd.store.cache import Cache

keys, weighs = st.integers(0, 9), st.integers(0, 60)


def check(cache: Cache) -> None:
    assert cache.nbytes == sum(nbytes for _, nbytes in cache._kept.values())
    assert cache.nbytes <= cache.limit


@given(st.lists(st.tuples(st.booleans(), keys, weighs), max_size=80))
def test_a_cache_is_a_dict_that_forgets_what_was_least_recently_used(steps):
    cache, model, looks = Cache(100), {}, 0
    for put, key, nbytes in steps:
        if put:
            cache.put(key, (key, nbytes), nbytes)
            if key not in model and nbytes <= 100:
                model[key] = nbytes
            while sum(model.values()) > 100:
                del model[next(iter(model))]
        else:
            found = cache.get(key)
            assert found == ((key, model[key]) if key in model else None)
            if key in model:
                model[key] = model.pop(key)
            looks += 1
        check(cache)
        assert list(cache._kept) == list(model)
    assert cache.hits + cache.misses == looks


def test_what_is_larger_than_the_limit_is_not_kept_and_drives_nothing_out():
    cache = Cache(100)
    cache.put("a", 1, 100)
    cache.put("b", 2, 101)
    assert (cache.get("a"), cache.get("b")) == (1, None)
    assert (cache.hits, cache.misses) == (1, 1)


def test_a_cleared_cache_is_empty_and_takes_again():
    cache = Cache(100)
    cache.put("a", 1, 100)
    cache.clear()
    check(cache)
    assert cache.get("a") is None
    cache.put("a", 2, 100)
    assert cache.get("a") == 2


def test_many_threads_may_use_one_cache():
    cache, wrong = Cache(500), []

    def use(seed: int) -> None:
        for i in range(2000):
            key = (seed * 7 + i * i) % 50
            found = cache.get(key)
            wrong.extend([found] if found not in (None, key) else [])
            cache.put(key, key, key)

    threads = [Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache.hits + cache.misses == 8000
    check(cache)
