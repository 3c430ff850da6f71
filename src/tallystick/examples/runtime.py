"""This machine's Python as the files of an image: the interpreter, what it links, its library.

Nothing is downloaded and no package of the system is asked. What the loader really mapped is
what goes into the image, so it works with any C library and any way Python was installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tallystick.examples.layout import File, Folder, Link, Tree

PYTHON = "/usr/local/bin/python3"
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_LIBRARY = f"usr/local/{sys.platlibdir}/{_VERSION}"

_LEFT_OUT = {
    "__pycache__", "site-packages", "dist-packages", "lib-dynload", "test", "tests", "idlelib",
    "tkinter", "turtledemo", "turtle.py", "lib2to3", "ensurepip", "distutils",
    "venv", "pydoc_data", "pydoc.py", "unittest", "doctest.py", "curses", "dbm", "sqlite3",
    "ctypes",
    "asyncio", "multiprocessing", "concurrent", "xmlrpc", "wsgiref", "msilib", "smtpd.py",
    "imaplib.py", "nntplib.py", "ftplib.py", "telnetlib.py", "pdb.py", "ssl.py", "_pyrepl",
    "pickletools.py", "mailbox.py", "_pydecimal.py", "tarfile.py", "antigravity.py", "this.py",
    "email", "http", "smtplib.py", "poplib.py", "mimetypes.py", "_pyio.py", "_pydatetime.py",
}  # fmt: skip
"""Library modules that an app without network, screen and neighbours has no use for."""

_ENCODINGS = {
    "__init__.py", "aliases.py", "ascii.py", "cp437.py", "idna.py", "latin_1.py", "punycode.py",
    "unicode_escape.py", "utf_16.py", "utf_16_le.py", "utf_32.py", "utf_8.py", "utf_8_sig.py",
}  # fmt: skip
"""The text encodings that are kept, of more than a hundred."""

_EXTENSIONS = (
    "_bisect", "_blake2", "_contextvars", "_csv", "_datetime", "_decimal", "_heapq", "_json",
    "_md5", "_opcode", "_pickle", "_posixsubprocess", "_queue", "_random", "_sha1", "_sha2",
    "_sha256", "_sha3", "_sha512", "_socket", "_statistics", "_struct", "_typing", "array",
    "binascii", "cmath", "fcntl", "grp", "math", "mmap", "resource", "select", "unicodedata",
    "zlib",
)  # fmt: skip

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
"""Kinds of ELF segments."""

_PROBE = """
import importlib, json, sys
files = {}
for name in sys.argv[1:]:
    try:
        files[name] = getattr(importlib.import_module(name), "__file__", None)
    except ImportError:
        pass
with open("/proc/self/maps") as maps:
    mapped = {line.split(None, 5)[5].strip() for line in maps if len(line.split(None, 5)) == 6}
print(json.dumps([files, sorted(path for path in mapped if path.startswith("/"))]))
"""

_COMPILE = """
import json, py_compile, sys
for source, target, shown in json.load(sys.stdin):
    py_compile.compile(source, target, shown, doraise=True, optimize=0,
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


class RuntimeUnusable(Exception):
    """This Python cannot be put into an image."""


def interpreter() -> Path:
    """The real interpreter behind a virtual environment."""
    return Path(sys.executable).resolve()


def identity() -> str:
    """Changes when the Python of this machine does; cheap, since nothing is read."""
    library = Path(sysconfig.get_path("stdlib"))
    stats = [path.stat() for path in (interpreter(), library / "os.py")]
    parts = [sys.version, str(interpreter()), *(f"{s.st_size}:{s.st_mtime_ns}" for s in stats)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def runtime_tree() -> Tree:
    """Everything a Python program needs to run in an empty container.

    Raises `RuntimeUnusable` with the reason where that cannot be found out.
    """
    python = interpreter()
    modules, mapped = _probe(python)
    return {
        **_skeleton(),
        **_binaries(python, mapped, modules),
        **{
            f"{_LIBRARY}/lib-dynload/{Path(path).name}": _program(Path(path))
            for path in modules.values()
        },
        **_compiled(python, Path(sysconfig.get_path("stdlib"))),
    }


def _skeleton() -> Tree:
    return {
        "dev": Folder(),
        "proc": Folder(0o555),
        "sys": Folder(0o555),
        "tmp": Folder(0o1777),
        "root": Folder(0o700),
        "iexec_in": Folder(),
        "iexec_out": Folder(0o777),
        "etc/passwd": File(
            b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/false\n"
        ),
        "etc/group": File(b"root:x:0:\nnogroup:x:65534:\n"),
        "usr/local/bin/python3": Link(_VERSION),
    }


def _probe(python: Path) -> tuple[dict[str, str], list[Path]]:
    """The files of the extension modules, and all files the loader mapped for them."""
    command = [str(python), "-I", "-S", "-c", _PROBE, *_EXTENSIONS]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as trouble:
        raise RuntimeUnusable(
            f"{python} did not tell which files it consists of ({trouble}); "
            "the example images can only be built on Linux."
        ) from trouble
    modules, mapped = json.loads(done.stdout)
    return {name: path for name, path in modules.items() if path}, [
        Path(path) for path in mapped
    ]


def _binaries(python: Path, mapped: list[Path], modules: dict[str, str]) -> Tree:
    """The interpreter, the loader it names, and the shared libraries beside the C library.

    The directory of the C library is always searched, so no library path has to be set.
    """
    own = {os.path.realpath(path) for path in modules.values()}
    loader = program_loader(python)
    libraries = [p for p in mapped if ".so" in p.name and os.path.realpath(p) not in own]
    home = _home_of_c_library(libraries)
    tree: dict[str, File | Folder | Link] = {
        f"usr/local/bin/{_VERSION}": _program(python),
        **_merged_usr(home, loader),
    }
    for library in libraries:
        tree[f"{home}/{_soname(library)}"] = _program(library)
    if loader is not None:
        tree[_canonical(loader)] = _program(Path(loader).resolve())
    return tree


def _program(path: Path) -> File:
    return File(stripped(path.read_bytes()), 0o755)


def stripped(elf: bytes) -> bytes:
    """An ELF file without what only a debugger reads: all that lies behind its last segment."""
    end = max(offset + size for kind, offset, _, size in _segments(elf) if kind == _LOAD)
    header = bytearray(elf[:end])
    struct.pack_into("<Q", header, 40, 0)  # no section headers any more
    struct.pack_into("<HHH", header, 58, 64, 0, 0)
    return bytes(header)


def _home_of_c_library(libraries: list[Path]) -> str:
    homes = [p.parent for p in libraries if p.name.startswith(("libc.so", "libc-", "ld-musl"))]
    return _canonical(str(homes[0])) if homes else "usr/lib"


def _canonical(path: str) -> str:
    """/lib/x is /usr/lib/x: in our images, as on most systems, one is a link to the other."""
    inside = path.lstrip("/")
    return f"usr/{inside}" if inside.startswith("lib") else inside


def _merged_usr(home: str, loader: str | None) -> dict[str, File | Folder | Link]:
    places = (home, _canonical(loader or home), "usr/lib/")
    tops = {path.split("/")[1] for path in places if path.startswith("usr/lib")}
    links: dict[str, File | Folder | Link] = {top: Link(f"usr/{top}") for top in tops}
    return {**links, **{f"usr/{top}": Folder() for top in tops}}


def _soname(library: Path) -> str:
    """The name by which programs ask for `library`; that of its file may be longer."""
    dynamic = _elf_soname(library.read_bytes())
    return dynamic or library.name


def program_loader(program: Path) -> str | None:
    """The dynamic loader that an ELF program asks the kernel for (PT_INTERP)."""
    content = program.read_bytes()
    for kind, offset, _address, size in _segments(content):
        if kind == _INTERPRETER:
            return content[offset : offset + size].rstrip(b"\0").decode()
    return None


def _segments(elf: bytes) -> list[tuple[int, int, int, int]]:
    """(type, offset, address, size in file) of the program headers of a 64-bit ELF file."""
    if elf[:5] != b"\x7fELF\x02" or elf[5] != 1:
        raise RuntimeUnusable("the example images need a 64-bit little-endian Linux Python.")
    start = struct.unpack_from("<Q", elf, 32)[0]
    width, count = struct.unpack_from("<HH", elf, 54)
    headers = (struct.unpack_from("<IIQQQQ", elf, start + i * width) for i in range(count))
    return [(kind, offset, address, size) for kind, _, offset, address, _, size in headers]


def _elf_soname(elf: bytes) -> str | None:
    """DT_SONAME of a shared library, if it has one."""
    segments = _segments(elf)
    entries: dict[int, int] = {}
    for kind, offset, _address, size in segments:
        if kind == _DYNAMIC:
            pairs = struct.iter_unpack("<QQ", elf[offset : offset + size - size % 16])
            entries = dict(pairs)
    if 14 not in entries or 5 not in entries:
        return None
    strings = entries[5]
    for kind, offset, address, size in segments:
        if kind == _LOAD and address <= strings < address + size:
            start = strings - address + offset + entries[14]
            return elf[start : elf.index(b"\0", start)].decode()
    return None


def _compiled(python: Path, library: Path) -> Tree:
    """The standard library as byte code without sources: faster to start, half the size."""
    sources = [path for path in sorted(_modules(library)) if _wanted(path, library)]
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [
            (
                str(source),
                f"{scratch}/{number}.pyc",
                f"/{_LIBRARY}/{source.relative_to(library)}",
            )
            for number, source in enumerate(sources)
        ]
        return dict(
            zip((job[2][1:] + "c" for job in jobs), compile_all(python, jobs), strict=True)
        )


def compile_all(python: Path, jobs: list[tuple[str, str, str]]) -> list[File]:
    """Byte code of (source, scratch file, path in tracebacks); the same bytes every time."""
    done = subprocess.run(
        [str(python), "-S", "-c", _COMPILE],
        input=json.dumps(jobs).encode(),
        capture_output=True,
        env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    if done.returncode:
        raise RuntimeUnusable(
            f"the library of {python} does not compile: {done.stderr[-500:]!r}"
        )
    return [File(Path(target).read_bytes()) for _, target, _ in jobs]


def _modules(library: Path) -> Iterator[Path]:
    """Python files, without entering folders that are left out: site-packages may be huge."""
    for folder, folders, files in os.walk(library):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def _wanted(path: Path, library: Path) -> bool:
    parts = path.relative_to(library).parts
    if parts[0] == "encodings" and parts[-1] not in _ENCODINGS:
        return False
    return not any(part in _LEFT_OUT or part.startswith("config-") for part in parts)
