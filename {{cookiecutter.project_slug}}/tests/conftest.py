import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # on a few rows threads only wait for one another
