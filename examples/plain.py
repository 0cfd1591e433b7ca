"""The smallest producer. `PACELINE_CONFIG`, or a paceline.toml in the working directory, says where messages wait."""

from paceline import Client, Text

with Client() as client:
    receipt = client.enqueue(
        Text(to="auro_usr_8f3k29d1a7", text="Your order #4821 has been shipped!"),
        via="aurogy-main",
        idempotency_key="order-4821-shipped",  # run it twice: the message is sent once
    )
    print(receipt.id, client.status(receipt.id).status)
