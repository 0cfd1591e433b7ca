"""The shop's own tasks; Paceline's service has a package of this name too."""

from worker import app


@app.task(name="shop.restock")
def restock() -> str:
    """The shop's own work, which has nothing to do with messages."""
    return "restocked"
