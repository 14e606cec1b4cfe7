"""The table of built-in modules for a static libpython that lacks some of its functions (inittab.py)."""

from __future__ import annotations

import pytest

from ocipy.launcher import inittab

# As `nm --extern-only --format=posix` prints an archive: Debian 13's libpython3.13.a, shortened.
LISTING = """\
libpython3.13.a[config.o]:
PyInit__md5 U
PyInit__sha2 U
PyInit_math U
PyMarshal_Init U
_PyImport_Inittab D 0 398
_PyWarnings_Init U

libpython3.13.a[md5module.o]:
PyInit__md5 T 0 10
python_hashlib_Hacl_Hash_MD5_update U

libpython3.13.a[Hacl_Hash_MD5.o]:
python_hashlib_Hacl_Hash_MD5_update T 0 10

libpython3.13.a[sha2module.o]:
PyInit__sha2 T 0 10
PyModule_AddType U
python_hashlib_Hacl_Hash_SHA2_update_256 U

libpython3.13.a[mathmodule.o]:
PyInit_math T 0 10
sqrt U

libpython3.13.a[marshal.o]:
PyMarshal_Init T 0 10
PyModule_AddType T 20 10

libpython3.13.a[_warnings.o]:
_PyWarnings_Init T 0 10
"""


def test_a_module_whose_functions_are_not_in_the_archive_is_left_out() -> None:
    assert inittab.choose(inittab.read_symbols(LISTING)) == {
        "_md5": "PyInit__md5",
        "math": "PyInit_math",  # sqrt is in another library
        "marshal": "PyMarshal_Init",
        "_warnings": "_PyWarnings_Init",
    }


def test_an_archive_without_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        inittab.choose(inittab.read_symbols(LISTING.replace("_PyImport_Inittab", "other")))


def test_the_table_has_an_end_and_the_modules_that_python_makes_itself() -> None:
    source = inittab.write({"_md5": "PyInit__md5"})
    assert (
        source.split("{", 1)[1].split()
        == ('{"_md5", PyInit__md5}, {"builtins", NULL}, {"sys", NULL}, {NULL, NULL}, };').split()
    )
    assert "PyObject *PyInit__md5(void);" in source
