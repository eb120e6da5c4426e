import pytest

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.contract import Contract, Feature

X = Feature("x", "number")


def contract(**changes):
    plain = {"task": "binary", "target": "y", "features": (X,), "classes": ("no", "yes"), "positive": "yes"}
    return Contract(**(plain | changes))


@pytest.mark.parametrize(
    ("feature", "told"),
    [
        ({"type": "float"}, "'x' has type 'float'; use one of number,"),
        ({"type": "number", "missing": 1.5}, "'x' has missing=1.5; a share lies between 0 and 1"),
        ({"type": "number", "range": (2, 1)}, "'x' has range (2, 1)"),
        ({"type": "category", "categories": ("a",), "range": (1, 2)}, "'x' has range (1, 2)"),
        ({"type": "number", "range": (5,)}, "'x' has range (5,)"),
        ({"type": "number", "range": (None, 5)}, "'x' has range (None, 5)"),
        ({"type": "number", "missing": "5%"}, "'x' has missing='5%'; a share lies between 0 and 1"),
        ({"type": "number", "range": (0, float("inf"))}, "'x' has range (0, inf)"),
        ({"type": "integer", "range": (0, float("inf"))}, "'x' has range (0, inf)"),
        ({"type": "number", "range": 5}, "'x' has range 5"),
        ({"type": "integer", "range": (0, 10.5)}, "'x' has range (0, 10.5); give ends that an integer"),
        ({"type": "integer", "range": (0, 1e20)}, "'x' has range (0, 1e+20); give ends that an integer"),
        ({"type": "category"}, "'x' lists no categories"),
        ({"type": "category", "categories": "abc"}, "'x' has categories 'abc'"),
        ({"type": "category", "categories": (1, 2)}, "'x' has categories (1, 2)"),
        ({"type": "category", "categories": ("a",), "unknown": "ignore"}, "'x' has unknown='ignore'"),
    ],
)
def test_an_impossible_feature_is_refused_in_one_sentence(feature, told):
    with pytest.raises(UserError) as refusal:
        Feature("x", **feature)
    assert str(refusal.value).startswith(f"schema.py: {told}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"features": ()}, "there are no features"),
        ({"target": "x"}, "'x' stands twice"),
        ({"personal": ("x",)}, "'x' stands twice"),
        ({"personal": "name"}, "personal is 'name'; a tuple is expected"),
        ({"features": X}, "features is Feature(name='x'"),
        ({"task": "clustering", "positive": None}, "task 'clustering'"),
        ({"classes": ("no", "yes", "maybe")}, "task 'binary' with classes ('no', 'yes', 'maybe')"),
        ({"task": "multiclass", "positive": None}, "task 'multiclass' with classes ('no', 'yes')"),
        ({"task": "regression", "positive": None}, "task 'regression' with classes ('no', 'yes')"),
        ({"classes": ("no", True), "positive": True}, "classes ('no', True); give each once"),
        ({"classes": ("yes", "yes")}, "classes ('yes', 'yes'); give each once"),
        ({"classes": (0.0, 1.0), "positive": 1.0}, "classes (0.0, 1.0); give each once"),
        ({"positive": None}, "positive is None"),
        ({"positive": "late"}, "positive is 'late'"),
        ({"task": "multiclass", "classes": ("a", "b", "c"), "positive": "a"}, "positive is 'a'"),
    ],
)
def test_an_impossible_contract_is_refused_in_one_sentence(changes, told):
    with pytest.raises(UserError) as refusal:
        contract(**changes)
    assert str(refusal.value).startswith(f"schema.py: {told}")
    assert "\n" not in str(refusal.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UserError) as refusal:
        Feature("x", "number", missing=2, range=(2, 1))
    assert len(str(refusal.value).splitlines()) == 2


def test_columns_stand_in_the_order_id_time_features_target_without_personal_ones():
    whole = contract(id="id", time="time", personal=("name",))
    assert whole.columns == ["id", "time", "x", "y"]
    assert list(whole.dtypes.items()) == [("id", "str"), ("time", "datetime64[us]"), ("x", "float64"), ("y", "str")]


@pytest.mark.parametrize(
    ("kind", "whole", "with_missing"),
    [
        ("number", "float64", "float64"),
        ("integer", "int64", "Int64"),
        ("boolean", "bool", "boolean"),
        ("category", "str", "str"),
        ("datetime", "datetime64[us]", "datetime64[us]"),
    ],
)
def test_a_type_has_one_dtype_that_holds_missing_values_where_they_are_allowed(kind, whole, with_missing):
    feature = {"name": "x", "type": kind, "unknown": "accept"}
    assert Feature(**feature).dtype == whole
    assert Feature(**feature, missing=0.1).dtype == with_missing


@pytest.mark.parametrize(
    ("task", "classes", "dtype"),
    [
        ("binary", (False, True), "bool"),
        ("multiclass", (1, 2, 3), "int64"),
        ("multiclass", ("a", "b", "c"), "str"),
        ("regression", (), "float64"),
    ],
)
def test_the_target_has_the_dtype_of_its_classes(task, classes, dtype):
    positive = classes[-1] if task == "binary" else None
    assert contract(task=task, classes=classes, positive=positive).dtypes["y"] == dtype


@pytest.mark.parametrize("classes", [(False, True), (True, False)])
@pytest.mark.parametrize("positive", [False, True])
def test_of_two_classes_the_positive_one_comes_last(classes, positive):
    assert contract(classes=classes, positive=positive).to_json()["classes"] == [not positive, positive]


def test_many_classes_keep_their_order():
    assert contract(task="multiclass", classes=("c", "a", "b"), positive=None).to_json()["classes"] == ["c", "a", "b"]
