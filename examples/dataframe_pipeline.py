"""A table passes through three tasks as a pandas DataFrame; between them it is stored as Parquet.

Run it here:        python examples/dataframe_pipeline.py
Run it on Wingbeat: pyflyte run --remote examples/dataframe_pipeline.py dataframe_wf --orders 100
"""

import pandas as pd
from flytekit import task, workflow
from flytekit.types.structured import StructuredDataset


@task
def make_orders(orders: int) -> pd.DataFrame:
    """Made-up orders of five customers."""
    numbers = pd.Series(range(orders))
    return pd.DataFrame(
        {
            "customer": "customer-" + (numbers % 5).astype(str),
            "quantity": numbers % 3 + 1,
            "price": (numbers % 7 + 1) * 2.5,
        }
    )


@task
def add_totals(orders: pd.DataFrame) -> StructuredDataset:
    """One more column: what each order comes to."""
    return StructuredDataset(dataframe=orders.assign(total=orders["quantity"] * orders["price"]))


@task
def total_by_customer(orders: StructuredDataset) -> pd.DataFrame:
    """Revenue of each customer, highest first."""
    frame = orders.open(pd.DataFrame).all()
    totals = frame.groupby("customer", as_index=False)["total"].sum()
    return totals.sort_values(["total", "customer"], ascending=[False, True], ignore_index=True)


@task
def best_customer(totals: pd.DataFrame) -> str:
    """A sentence about the first row."""
    first = totals.iloc[0]
    return f"{first['customer']} spent {first['total']:.2f}"


@workflow
def dataframe_wf(orders: int = 100) -> tuple[str, pd.DataFrame]:
    """From orders to revenue by customer."""
    totals = total_by_customer(orders=add_totals(orders=make_orders(orders=orders)))
    return best_customer(totals=totals), totals


if __name__ == "__main__":
    sentence, totals = dataframe_wf()
    print(sentence)
    print(totals.open(pd.DataFrame).all() if isinstance(totals, StructuredDataset) else totals)
