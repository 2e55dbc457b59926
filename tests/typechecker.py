"""The checker of annotations that conftest.py puts into eigenloop's functions while the tests run."""

import beartype

# An int where a float is asked for is right to every static checker, so it is right here too.
check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
