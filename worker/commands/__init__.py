"""The commands of the service: `menu` says what each takes, the others what each does."""
