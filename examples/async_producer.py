"""asyncio: in the transaction of an AsyncSession, or in a thread.

DATABASE_URL=postgresql+asyncpg://… PACELINE_DATABASE_URL=postgresql://… python -m examples.async_producer 4821
"""

import asyncio
import os
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from paceline import Client, Receipt, Text

engine = create_async_engine(os.environ["DATABASE_URL"])
client = Client()


async def place(number: int, customer: str) -> Receipt:
    """The order and its confirmation are one transaction."""
    confirmation = Text(to=customer, text=f"Thank you for your order #{number}!")
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text("INSERT INTO purchase (id) VALUES (:id)"), {"id": number})
        return await session.run_sync(
            lambda joined: client.enqueue(
                confirmation, via="aurogy-main", idempotency_key=f"purchase-{number}", session=joined
            )
        )


async def remind(customer: str) -> Receipt:
    """A message that belongs to no transaction of ours."""
    return await asyncio.to_thread(
        client.enqueue, Text(to=customer, text="Your basket is waiting."), via="aurogy-main", priority="bulk"
    )


async def main(number: int) -> None:
    """One of each."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS purchase (id integer PRIMARY KEY)"))
    customer = "auro_usr_8f3k29d1a7"
    for receipt in await asyncio.gather(place(number, customer), remind(customer)):
        print(receipt.id)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
