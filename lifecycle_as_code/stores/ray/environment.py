"""The environment of a local Ray's processes, and so of every replica: a short list, and what manifests name.

A model is code from elsewhere, and reads the environment that it runs in. It gets what programs need to find
themselves (paths, locale, certificates, GPUs) and the variables that the manifests' references name, never
the rest of lac's own environment.
"""

from __future__ import annotations

import os
import site
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...model.redaction import without_credentials

VARIABLES: Final = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
        *("PIP_CERT", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "CONDA_PREFIX", "CONDA_EXE"),
        *("OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    )
)
"""Variables that every replica of a local Ray gets."""

PREFIXES: Final = ("LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "OMP_", "MKL_")
"""Prefixes of more such variables."""

PROXIES: Final = frozenset(("http_proxy", "https_proxy", "all_proxy", "no_proxy", "no_grpc_proxy"))
"""Passed in either case, except an address with a password."""


def select_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environ` that a local Ray gets without being declared."""
    return {name: value for name, value in environ.items() if _is_harmless(name, value)}


def _is_harmless(name: str, value: str) -> bool:
    if name.lower() in PROXIES:
        return without_credentials(value) == value
    return name in VARIABLES or name.startswith(PREFIXES)


def python_path(environ: Mapping[str, str]) -> str:
    """PYTHONPATH for Ray's workers: that of `environ`, with the place this package is imported from."""
    home = str(Path(__file__).resolve().parents[3])
    paths = [p for p in environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    # site-packages is found anyway, and named here it would come before the standard library
    if home not in paths and home not in {*site.getsitepackages(), site.getusersitepackages()}:
        paths.insert(0, home)
    return os.pathsep.join(paths)
