import pandas as pd
import pytest

from {{ cookiecutter.__package }}.stages.ingest import label

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
