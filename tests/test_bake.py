"""What a bake leaves behind, for every answer."""

import itertools
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import TEMPLATE, Bake

VERSIONS = ("3.11", "3.12", "3.13")
MOST_FILES = 90  # why not 60: docs/decisions/0007-size.md
