"""Broadcasts: one message for many recipients, in the order in which one comes about.

`definition` says what and when, `recipients` and `rendering` make each one's message, `expansion` stages them,
`schedule` tells their time, `forecast` their end, and `control` shows and steers what runs. What an account's provider
sends itself is `hosted`: one durable job instead of messages.
"""
