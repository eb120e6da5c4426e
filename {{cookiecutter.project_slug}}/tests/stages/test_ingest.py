import pandas as pd
import pytest
from rows import BINARY, valid_rows

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.stages.ingest import label, labelled

FLIGHT = {
    "year": 2013, "month": 2, "day": 12, "hour": 5, "minute": 40, "time_hour": "2013-02-12T10:00:00Z",
    "sched_arr_time": 850, "arr_delay": 0.0, "carrier": "AA", "flight": 1141, "origin": "JFK", "dest": "MIA",
    "distance": 1089,
}  # fmt: skip
WEATHER = {
    "origin": "JFK", "time_hour": "2013-02-12T10:00:00Z", "temp": 39.0, "dewp": 26.1, "humid": 59.4, "wind_dir": 270.0,
    "wind_speed": 10.4, "precip": 0.0, "pressure": 1011.9, "visib": 10.0,
}  # fmt: skip


def labels(*flights, weather=(WEATHER,)):
    """Return the rows of flights that differ so from the one above."""
    return label(pd.DataFrame([FLIGHT | flight for flight in flights]), pd.DataFrame(weather), late_minutes=15)


def test_a_flight_without_an_arrival_delay_has_no_label_and_is_left_out():
    rows = labels({"flight": 1}, {"flight": 2, "arr_delay": None})
    assert rows["flight_id"].tolist() == ["AA1 201302120540"]


def test_late_begins_at_fifteen_minutes():
    rows = labels({"arr_delay": 14.0, "flight": 1}, {"arr_delay": 15.0, "flight": 2}, {"arr_delay": -9.0, "flight": 3})
    assert rows["late"].tolist() == [False, True, False]


def test_weather_is_that_of_the_airport_and_the_hour():
    cold = WEATHER | {"time_hour": "2013-02-12T11:00:00Z", "temp": 20.0}
    flights = [
        {"flight": 1},
        {"flight": 2, "hour": 6, "time_hour": "2013-02-12T11:00:00Z"},
        {"flight": 3, "origin": "EWR"},
    ]
    rows = labels(*flights, weather=[WEATHER, cold]).set_index("flight_id")
    assert rows["temperature"].to_dict() == {
        "AA1 201302120540": 39.0,
        "AA2 201302120640": 20.0,
        "AA3 201302120540": pytest.approx(float("nan"), nan_ok=True),
    }


def test_a_wind_of_1048_mph_is_an_error_of_the_sensor():
    assert labels({}, weather=[WEATHER | {"wind_speed": 1048.36}])["wind_speed"].isna().all()
    assert labels({})["wind_speed"].tolist() == [10.4]


def test_times_are_local_and_minutes_count_from_midnight():
    (row,) = labels({"sched_arr_time": 2359}).to_dict("records")
    assert row["scheduled_departure"] == pd.Timestamp("2013-02-12 05:40")
    assert (row["departure_minute"], row["arrival_minute"], row["weekday"]) == (340, 1439, 1)
    assert labels({"sched_arr_time": 2400})["arrival_minute"].tolist() == [0]


def test_what_is_known_only_later_is_no_column():
    assert not {"arr_delay", "dep_delay", "air_time"} & set(labels({}))


def test_rows_that_came_back_lose_personal_columns(tmp_path):
    valid_rows(BINARY, 3).assign(passenger="A. Lovelace").to_parquet(tmp_path / "october.parquet")
    batches = labelled(tmp_path, BINARY)
    assert list(batches) == ["october"]
    assert list(batches["october"]) == BINARY.columns


def test_pointers_and_hidden_files_are_no_batches(tmp_path):
    valid_rows(BINARY, 3).to_parquet(tmp_path / "october.parquet")
    for name in ("october.parquet.dvc", ".gitignore"):
        (tmp_path / name).touch()
    assert list(labelled(tmp_path, BINARY)) == ["october"]


def test_a_batch_that_was_not_pulled_is_asked_for(tmp_path):
    (tmp_path / "october.parquet.dvc").touch()
    with pytest.raises(UserError, match=r"october\.parquet is kept by DVC and not here; run `\.venv/bin/dvc pull`"):
        labelled(tmp_path, BINARY)


@pytest.mark.parametrize("name", ["october.parquet", "october.csv"])
def test_a_file_that_is_not_parquet_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=f"{name} cannot be read as Parquet"):
        labelled(tmp_path, BINARY)


def test_a_batch_may_not_bear_the_name_of_the_history(tmp_path):
    valid_rows(BINARY, 3).to_parquet(tmp_path / "history.parquet")
    with pytest.raises(UserError, match="bears the name of the history; rename it"):
        labelled(tmp_path, BINARY)
