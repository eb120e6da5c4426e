"""The contract: will a flight out of New York arrive 15 minutes late or more, from its schedule and the weather?

Late is the FAA's definition of delayed. Every feature is known at the scheduled departure: departure delay, air time
and arrival time are not, and so are none. Validation, encoding, bundle, service and monitor derive from this file.
"""

from .contract import Contract, Feature

CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")

CONTRACT = Contract(
    task="binary",
    target="late",
    classes=(False, True),
    positive=True,
    time="scheduled_departure",
    id="flight_id",
    features=(
        Feature("carrier", "category", categories=CARRIERS),
        Feature("origin", "category", categories=("EWR", "JFK", "LGA")),
        Feature("dest", "category", unknown="accept"),
        Feature("distance", "integer", unit="miles", range=(10, 6000)),
        Feature("departure_minute", "integer", unit="minutes after midnight, local", range=(0, 1439)),
        Feature("arrival_minute", "integer", unit="minutes after midnight, local", range=(0, 1439)),
        Feature("weekday", "integer", unit="days since Monday", range=(0, 6)),
        Feature("temperature", "number", unit="°F", range=(-40, 130), missing=0.05),
        Feature("dew_point", "number", unit="°F", range=(-60, 100), missing=0.05),
        Feature("humidity", "number", unit="%", range=(0, 100), missing=0.05),
        Feature("wind_direction", "number", unit="degrees", range=(0, 360), missing=0.1),
        Feature("wind_speed", "number", unit="mph", range=(0, 150), missing=0.05),
        Feature("precipitation", "number", unit="inches in the hour", range=(0, 10), missing=0.05),
        Feature("pressure", "number", unit="millibars", range=(870, 1090), missing=0.3),
        Feature("visibility", "number", unit="miles", range=(0, 10), missing=0.05),
    ),
)
